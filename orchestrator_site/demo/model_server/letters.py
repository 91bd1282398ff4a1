"""Letters to customers, and the small corrections of an address that come without a whole address."""

import re
from typing import Any

from orchestrator_site.demo.model_server import prose
from orchestrator_site.demo.model_server.addresses import POSTCODE
from orchestrator_site.demo.model_server.tokens import stem, tokenize

# Topic -> words that show it, subject, paragraph. The first topic that shows wins.
TOPICS: list[tuple[set[str], str, str]] = [
    (
        {"cancel", "cancelled", "cancellation", "stopped"},
        "Cancellation of your order {number}",
        "we are writing about the cancellation of your order {number} ({goods}), which was asked for.",
    ),
    (
        {"late", "delay", "delayed", "later"},
        "Your order {number} is late",
        "your order {number} ({goods}) takes longer than we promised, and we are sorry for that. {state}",
    ),
    (
        {"refund", "refunded", "money", "reimburse"},
        "Money back on your order {number}",
        "we are writing about the money back on your order {number} ({goods}). We are looking after it.",
    ),
    (
        {"address", "redirect"},
        "The address of your order {number}",
        "we are writing about the delivery address of your order {number}. {state}",
    ),
    (
        {"apology", "apologise", "apologize", "sorry"},
        "An apology for your order {number}",
        "we are sorry for the trouble with your order {number} ({goods}). {state}",
    ),
    (
        {"thank", "thanking", "patience"},
        "Thank you for your order {number}",
        "thank you for your patience with your order {number} ({goods}). {state}",
    ),
]
THAT = re.compile(
    r"\b(?:that|saying|saying that|explaining|explaining that|:)\s+(?P<content>[^.!?\n”\"]{12,200})", re.IGNORECASE
)


def compose(said: str, order: dict[str, Any] | None) -> tuple[str, str]:
    """Subject and body of the letter a task asks for."""
    number = (order or {}).get("order_number", "")
    words = {token.stem for token in tokenize(said)}
    subject, paragraph = f"Your order {number}".strip(), "we are writing about your order {number} ({goods}). {state}"
    for signs, topic_subject, topic_paragraph in TOPICS:
        if words & {stem(sign) for sign in signs}:
            subject, paragraph = topic_subject, topic_paragraph
            break
    filling = {"number": number, "goods": prose.goods(order) if order else "your goods", "state": _state(order)}
    name = (order or {}).get("customer", {}).get("name", "customer")
    body = paragraph.format(**filling).strip()
    told = _told(said)
    extra = f"\n\nWe were asked to tell you this: {told}." if told else ""
    return subject.format(**filling).strip(), f"Dear {name},\n\n{body}{extra}\n\n{prose.SIGNATURE}\n"


def _state(order: dict[str, Any] | None) -> str:
    return f"At present the order {prose.STATES.get(order['status'], order['status'])}." if order else ""


def _told(said: str) -> str:
    """What the task wants said, in its own words; `that we did so` says nothing on its own."""
    match = THAT.search(said)
    content = match.group("content").strip(" ,;“”") if match else ""
    return "" if re.search(r"\b(?:so|it)$", content) else content


def corrected_part(said: str) -> dict[str, str]:
    """`the postcode is wrong, correct is 10437`: one field of an address by itself."""
    if re.search(r"post ?code|postal code|zip", said, re.IGNORECASE):
        codes = [
            match.group()
            for match in POSTCODE.finditer(said)
            if not 1001 <= int(re.sub(r"\D", "", match.group()) or 0) <= 1500
        ]
        return {"postal_code": codes[-1]} if codes else {}
    return {}
