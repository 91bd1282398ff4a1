"""A small desk: what its agents are asked, and what belongs to none of them."""

from agents.routing.fitting import RouteTable, RouteTexts

ORDERS = (
    "where is my order 1042",
    "my parcel has not arrived yet",
    "when will my delivery come",
    "track the package I ordered last week",
    "the courier says it was delivered but it was not",
    "has order 77 been shipped",
    "is my shipment delayed",
)
REFUNDS = (
    "I want my money back",
    "please refund order 311",
    "you charged me twice, return one payment",
    "how long does a refund take",
    "I returned the shoes, when do I get the money",
    "refund the difference to my card",
    "cancel the purchase and pay me back",
)
ACCOUNTS = (
    "I forgot my password",
    "change the email address of my account",
    "I cannot log in any more",
    "delete my account please",
    "how do I turn on two factor login",
    "my user name is wrong",
    "reset my login",
)
JOBS = (
    "are you hiring at the moment",
    "I would like to apply for a job",
    "do you offer internships",
    "where do I send my application letter",
    "which positions are open in your company",
    "what is the salary of a shop assistant",
    "can I do my apprenticeship with you",
)
ASKED = {
    "orders": "my package still is not here, where did it go",
    "refunds": "give me the money back for order 555",
    "accounts": "the log in page does not take my password",
    "jobs": "is there an open position I can apply for",
}
NOBODYS = (
    "what is the capital of Mongolia",
    "sing me a song about the sea",
    "how do I boil an egg",
    "who won the football match yesterday",
)


def table(**changed: RouteTexts) -> RouteTable:
    routes = {
        "accounts": RouteTexts("accounts", "Accounts: logins and personal data", ACCOUNTS),
        "jobs": RouteTexts("jobs", "Jobs: applications", JOBS),
        "orders": RouteTexts("orders", "Orders: deliveries and their whereabouts", ORDERS),
        "refunds": RouteTexts("refunds", "Refunds: money that goes back", REFUNDS),
    } | changed
    return RouteTable(tuple(route for _, route in sorted(routes.items())))
