import pytest

from tools.arguments import validate_arguments

REFUND = {
    "type": "object",
    "properties": {
        "order": {"type": "string", "pattern": "^B-[0-9]+$"},
        "amount": {"type": "number", "maximum": 100},
        "lines": {"type": "array", "items": {"type": "object", "required": ["sku"]}},
        "on": {"type": "string", "format": "date"},
    },
    "required": ["order", "amount"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("arguments", "sentences"),
    [
        ({"order": "B-1", "amount": 5}, []),
        ({"order": "B-1"}, ["amount is missing."]),
        ({"order": "B-1", "amount": "5"}, ["amount: '5' is not of type 'number'."]),
        ({"order": "B-1", "amount": 500}, ["amount: 500 is greater than the maximum of 100."]),
        ({"order": "B-1", "amount": 5, "x": 1}, ["x is not an argument of this tool."]),
        ({"order": "B-1", "amount": 5, "lines": [{"sku": 1}, {}]}, ["lines[1].sku is missing."]),
        ({"order": "B-1", "amount": 5, "on": "soon"}, ["on: 'soon' is not a 'date'."]),
    ],
)
def test_every_mistake_names_its_field(arguments: dict, sentences: list[str]) -> None:
    assert validate_arguments(REFUND, arguments) == sentences


def test_a_huge_value_is_not_repeated_in_full() -> None:
    [sentence] = validate_arguments(REFUND, {"order": "B-" + "9" * 100_000 + "x", "amount": 1})

    assert sentence.startswith("order: …")
    assert len(sentence) < 200


def test_many_mistakes_are_counted() -> None:
    schema = {"type": "object", "additionalProperties": {"type": "string"}}

    assert len(validate_arguments(schema, {str(n): n for n in range(30)})) == 11


def test_a_schema_never_makes_a_request() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/schema"}}}

    [sentence] = validate_arguments(schema, {"a": 1})

    assert "http://127.0.0.1:9/schema" in sentence


def test_a_broken_schema_refuses_every_call() -> None:
    assert validate_arguments({"type": "nonsense"}, {}) != []


def test_arguments_nested_without_end_are_a_sentence() -> None:
    schema: dict = {"$defs": {"n": {"properties": {"n": {"$ref": "#/$defs/n"}}}}, "$ref": "#/$defs/n"}
    deep: dict = {}
    for _ in range(3000):
        deep = {"n": deep}

    assert validate_arguments(schema, deep) == ["arguments: nested too deeply to be checked."]
