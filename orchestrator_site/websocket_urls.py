from django.urls import path, re_path

from orchestrator_site.consumers import ApprovalsConsumer, OpsConsumer
from runs import websocket_urls as runs
from runs.consumers import NowhereConsumer

urlpatterns = [
    *runs.urlpatterns,
    path("ws/approvals/", ApprovalsConsumer.as_asgi()),
    path("ws/ops/", OpsConsumer.as_asgi()),
    re_path("", NowhereConsumer.as_asgi()),
]
