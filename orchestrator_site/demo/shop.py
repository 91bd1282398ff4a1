"""Stock the demo shop: 500 orders that are the same in every installation, dated backwards from the day of seeding.

The last digit of a number tells its status: 0 3 7 processing, 1 6 shipped, 2 delayed, 4 5 8 delivered, 9 delivered or
(19, 39, 59 …) cancelled. So 1042 is late, 1043 can still be cancelled and 1044 has arrived.
"""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from django.db import transaction

from orchestrator_site.demo.models import Customer, Order, OrderLine, Shipment

FIRST_NUMBER, LAST_NUMBER = 1001, 1500

FIRST_NAMES = (
    "Anna Jonas Maria Lukas Emma Pieter Sophie Liam Clara Tom Hannah Marek Elena Hugo Nora Felix Aisha Oliver "
    "Greta Mateo Ingrid Samuel Zofia David Amelie"
).split()
LAST_NAMES = (
    "Schmidt Novak Doyle Bakker Rossi Larsen Weber Murphy Moreau Kowalska Fischer Haddad Jensen Taylor Costa "
    "Lindqvist Bauer Walsh Dupont Horvat"
).split()
PLACES = [  # city, postal code, country, streets
    ("Berlin", "10437", "Germany", ["Kastanienallee", "Gleimstraße", "Oderberger Straße"]),
    ("Leeds", "LS1 4AB", "United Kingdom", ["Mill Lane", "Albion Street", "Park Row"]),
    ("Utrecht", "3511 LN", "Netherlands", ["Oudegracht", "Lange Nieuwstraat", "Nachtegaalstraat"]),
    ("Lyon", "69002", "France", ["Rue Mercière", "Rue de la Charité", "Quai Tilsitt"]),
    ("Graz", "8010", "Austria", ["Lindenweg", "Sporgasse", "Leonhardstraße"]),
    ("Dublin", "D02 X285", "Ireland", ["Merrion Row", "Baggot Street", "South Lotts Road"]),
    ("Gdansk", "80-831", "Poland", ["Długa", "Piwna", "Szeroka"]),
    ("Köln", "50667", "Germany", ["Hohe Straße", "Am Hof", "Breite Straße"]),
    ("Porto", "4050-123", "Portugal", ["Rua das Flores", "Rua do Almada", "Rua da Picaria"]),
    ("Malmö", "211 20", "Sweden", ["Storgatan", "Södergatan", "Baltzarsgatan"]),
]
GOODS = [
    ("Stoneware teapot", "34.90"),
    ("Set of six water glasses", "27.50"),
    ("Reading lamp, brass", "59.00"),
    ("Electric kettle, 1.2 l", "49.90"),
    ("Wool blanket, grey", "79.00"),
    ("Oak cutting board", "24.50"),
    ("Chef's knife, 20 cm", "64.00"),
    ("Enamel mug", "9.95"),
    ("Linen tablecloth", "42.00"),
    ("Desk fan", "38.75"),
    ("Garden chair, folding", "54.20"),
    ("Ceramic vase, blue", "31.60"),
    ("Toaster, two slots", "45.00"),
    ("Bath towel, cotton", "18.40"),
    ("Wall clock", "36.25"),
    ("Cast iron pan, 28 cm", "69.50"),
    ("Side table, ash", "129.00"),
    ("Bookshelf, five boards", "189.00"),
]
CARRIERS = ["DHL", "UPS", "PostNL", "DPD"]
STATUS_BY_DIGIT = dict(
    zip(
        "0123456789",
        "processing shipped delayed processing delivered delivered shipped processing delivered delivered".split(),
        strict=True,
    )
)
AGE_DAYS = {"processing": 1, "shipped": 4, "delayed": 11, "delivered": 16, "cancelled": 20}


@dataclass(frozen=True)
class Plan:
    """What one order number stands for, before any row exists."""

    number: int

    @property
    def status(self) -> str:
        return "cancelled" if self.number % 20 == 19 else STATUS_BY_DIGIT[str(self.number)[-1]]

    @property
    def name(self) -> str:
        return f"{FIRST_NAMES[self.number * 7 % 25]} {LAST_NAMES[self.number * 3 % 20]}"

    @property
    def email(self) -> str:
        return self.name.lower().replace(" ", ".") + "@example.com"

    @property
    def goods(self) -> list[tuple[str, int, Decimal]]:
        picks = range(1 + self.number % 3)
        chosen = [GOODS[(self.number * 5 + 7 * pick) % len(GOODS)] for pick in picks]
        return [(name, 1 + (self.number + pick) % 4 // 3, Decimal(price)) for pick, (name, price) in enumerate(chosen)]

    @property
    def address(self) -> dict[str, str]:
        city, postal_code, country, streets = PLACES[self.number * 11 % len(PLACES)]
        street, house = streets[self.number % 3], 1 + self.number * 13 % 90
        line1 = f"{house} {street}" if country in {"United Kingdom", "Ireland", "France"} else f"{street} {house}"
        return {"line1": line1, "postal_code": postal_code, "city": city, "country": country}

    def placed_on(self, today: dt.date) -> dt.date:
        return today - dt.timedelta(days=AGE_DAYS[self.status] + self.number % 4)

    def refunded_before(self) -> Decimal:
        """A few delivered orders were paid back in part already, so that the desk meets one."""
        return Decimal("10.00") if self.status == "delivered" and self.number % 25 == 0 else Decimal(0)


@transaction.atomic
def stock(today: dt.date | None = None) -> int:
    """Create what is missing and leave every existing order as it is; the number of orders created is returned."""
    today = today or dt.datetime.now(dt.UTC).date()
    have = set(Order.objects.values_list("number", flat=True))
    plans = [Plan(number) for number in range(FIRST_NUMBER, LAST_NUMBER + 1) if number not in have]
    orders = _create_orders(plans, today)
    OrderLine.objects.bulk_create(
        OrderLine(order=orders[plan.number], product=name, quantity=quantity, unit_price=price)
        for plan in plans
        for name, quantity, price in plan.goods
    )
    Shipment.objects.bulk_create(
        _shipment(orders[plan.number], plan, today)
        for plan in plans
        if plan.status in {"shipped", "delayed", "delivered"}
    )
    return len(plans)


def _create_orders(plans: list[Plan], today: dt.date) -> dict[int, Order]:
    people = {plan.email: Customer(name=plan.name, email=plan.email) for plan in plans}
    Customer.objects.bulk_create(people.values(), ignore_conflicts=True)
    customers = {customer.email: customer for customer in Customer.objects.all()}
    orders = Order.objects.bulk_create(
        Order(
            number=plan.number,
            customer=customers[plan.email],
            placed_on=plan.placed_on(today),
            status=plan.status,
            shipping_cost=Decimal("4.90"),
            refunded_before=plan.refunded_before(),
            **plan.address,
        )
        for plan in plans
    )
    return {order.number: order for order in orders}


def _shipment(order: Order, plan: Plan, today: dt.date) -> Shipment:
    carrier = CARRIERS[plan.number % len(CARRIERS)]
    handed_over = order.placed_on + dt.timedelta(days=1)
    expected_on = {
        "shipped": today + dt.timedelta(days=1 + plan.number % 2),
        "delayed": handed_over + dt.timedelta(days=4),
        "delivered": handed_over + dt.timedelta(days=3),
    }[plan.status]
    city = plan.address["city"]
    events = [
        (handed_over, f"Handed over to {carrier}"),
        (handed_over + dt.timedelta(days=1), f"Sorted at the depot for {city}"),
    ]
    if plan.status == "delayed":
        events.append((handed_over + dt.timedelta(days=3), "Held at the depot: the delivery vehicle broke down"))
    if plan.status == "delivered":
        events.append((handed_over + dt.timedelta(days=3), f"Delivered in {city}"))
    return Shipment(
        order=order,
        carrier=carrier,
        tracking_code=f"{carrier[:2].upper()}{plan.number * 7919 % 10**8:08d}{plan.number}",
        status={"shipped": "in transit", "delayed": "delayed", "delivered": "delivered"}[plan.status],
        expected_on=expected_on,
        events=[{"on": day.isoformat(), "text": text} for day, text in events],
    )
