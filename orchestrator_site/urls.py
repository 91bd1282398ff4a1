from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from orchestrator_site import views
from runs.stream import stream

web = [
    path("", views.home, name="home"),
    path("ops/", views.ops, name="ops"),
    path("ops/breakers/", views.move_breaker, name="move-breaker"),
    path("ops/switches/", views.move_switch, name="move-switch"),
    path("login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(next_page="login"), name="logout"),
    path("", include("runs.urls")),
    path("", include("approvals.urls")),
]

urlpatterns = [
    path("api/v1/runs/<uuid:run_id>/stream/", stream, name="run-stream"),
    path("api/v1/", include("orchestrator_site.api_urls")),
    path("admin/", admin.site.urls),
    *web,
]
