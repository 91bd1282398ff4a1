"""A doorbell: rung after a request was closed. The rows are the truth; a lost ring is found by the reconciler."""

from django.dispatch import Signal

# Sent robustly, on commit, with sender=ApprovalRequest and `request_id`.
decision_made = Signal()
