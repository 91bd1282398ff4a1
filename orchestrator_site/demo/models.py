"""The demo shop's own tables. The platform knows nothing of them: agents reach them through tools only."""

from decimal import Decimal

from django.db import models


class Customer(models.Model):
    name = models.CharField(max_length=120)
    email = models.EmailField(unique=True)

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>"


class Order(models.Model):
    class Status(models.TextChoices):
        PROCESSING = "processing"
        SHIPPED = "shipped"
        DELAYED = "delayed"
        DELIVERED = "delivered"
        CANCELLED = "cancelled"

    number = models.PositiveIntegerField(unique=True)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="orders")
    placed_on = models.DateField()
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.PROCESSING)
    shipping_cost = models.DecimalField(max_digits=8, decimal_places=2)
    # Paid back before the demo began; refunds made since are the payment service's to tell.
    refunded_before = models.DecimalField(max_digits=8, decimal_places=2, default=Decimal(0))
    line1 = models.CharField(max_length=120)
    line2 = models.CharField(max_length=120, blank=True, default="")
    postal_code = models.CharField(max_length=12)
    city = models.CharField(max_length=80)
    country = models.CharField(max_length=60)

    class Meta:
        ordering = ["number"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(status__in=["processing", "shipped", "delayed", "delivered", "cancelled"]),
                name="demo_order_status_known",
            )
        ]

    def __str__(self) -> str:
        return f"order {self.number}"

    @property
    def has_left(self) -> bool:
        return self.status in {self.Status.SHIPPED, self.Status.DELAYED, self.Status.DELIVERED}

    @property
    def total(self) -> Decimal:
        return sum((line.total for line in self.lines.all()), self.shipping_cost)

    @property
    def address(self) -> dict[str, str]:
        fields = ("line1", "line2", "postal_code", "city", "country")
        return {field: getattr(self, field) for field in fields if getattr(self, field)}


class OrderLine(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    product = models.CharField(max_length=80)
    quantity = models.PositiveSmallIntegerField()
    unit_price = models.DecimalField(max_digits=8, decimal_places=2)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.quantity} x {self.product}"

    @property
    def total(self) -> Decimal:
        return self.unit_price * self.quantity


class Shipment(models.Model):
    """`events` is a list of {"on": ISO date, "text": sentence}, oldest first."""

    order = models.OneToOneField(Order, on_delete=models.CASCADE, related_name="shipment")
    carrier = models.CharField(max_length=40)
    tracking_code = models.CharField(max_length=24, unique=True)
    status = models.CharField(max_length=24)
    expected_on = models.DateField()
    events = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"{self.carrier} {self.tracking_code}"


class AppliedChange(models.Model):
    """One change made to an order, under the idempotency key of the call that made it; asked again, it answers the same."""

    key = models.CharField(max_length=200, unique=True)
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="changes")
    kind = models.CharField(max_length=20)
    details = models.JSONField(default=dict)
    result = models.JSONField(default=dict)
    made_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.kind} of {self.order_id}"
