"""What requests alike have in common, where they differ, and what stands out."""

from decimal import Decimal

import pytest

from approvals.comparison import compare


def flags(*values, name="amount"):
    """The flag of each of these values of one argument; the other argument keeps them apart."""
    found = compare([{name: value, "n": str(n)} for n, value in enumerate(values)])
    column = found.columns.index(name)
    return [row[column].flag for row in found.rows]


def test_what_all_share_is_said_once_and_the_rest_in_a_table():
    found = compare([{"to": "a", "amount": 1, "why": "x"}, {"to": "a", "amount": 2}])

    assert found.common == {"to": "a"}
    assert found.columns == ("amount", "why")
    assert [[cell.missing for cell in row] for row in found.rows] == [[False, False], [False, True]]


def test_the_same_number_in_two_spellings_is_the_same():
    assert compare([{"amount": 2}, {"amount": 2.0}]).columns == ()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((10, 20, 500), ["", "", "33 times what is usual among the others"]),
        ((10, 11, 12), ["", "", "the largest"]),
        ((12, 10, 12), ["", "", ""]),
        (("a@b.eu", "b@b.eu", "c@b.eu", "x@evil.eu"), ["", "", "", "goes to evil.eu, most of the others to b.eu"]),
        (("ftp://a.eu/1", "ftp://a.eu/2", "ftp://u:x@b.eu/"), ["", "", "goes to b.eu, most of the others to a.eu"]),
        (("a@one.example", "b@two.example", "c@three.example"), ["", "", ""]),
        (("EUR", "EUR", "USD"), ["", "", "differs from all the others"]),
        (("x", "y", "z"), ["", "", ""]),
        ((True, True, False), ["", "", "differs from all the others"]),
        (([1], [1], [2]), ["", "", "differs from all the others"]),
    ],
)  # fmt: skip
def test_what_stands_out(values, told):
    assert flags(*values) == told


def test_what_only_one_of_them_has_stands_out_and_what_only_one_has_not():
    def told(*arguments):
        found = compare(arguments)
        column = found.columns.index("iban")
        return [row[column].flag for row in found.rows]

    with_it, without = {"iban": "DE89", "n": 1}, {"n": 2}
    assert told(with_it, without, without) == ["none of the others has it", "", ""]
    assert told(with_it, with_it, without) == ["", "", "all the others have it"]
    assert told(with_it, without) == ["", ""]
    assert told(with_it, with_it, without, without) == ["", "", "", ""]


def test_a_number_that_only_names_something_does_not_stand_out_by_its_size():
    assert flags(1, 2, 5000, name="order_number") == ["", "", ""]


def test_amounts_are_added_exactly_and_numbers_of_orders_are_not():
    found = compare([{"amount_usd": 0.1, "order": 1}, {"amount_usd": 0.2, "order": 2}])

    assert found.totals == {"amount_usd": Decimal("0.3")}


def test_amounts_that_are_no_numbers_are_not_added():
    assert compare([{"amount": 1}, {"amount": "two"}]).totals == {}
    assert compare([{"amount": 1}, {}]).totals == {}
