from django.contrib import admin
from django.http import HttpRequest, JsonResponse
from django.urls import path


def live(request: HttpRequest) -> JsonResponse:
    """This process answers; it says nothing about the services behind it."""
    return JsonResponse({"status": "live"})


urlpatterns = [
    path("api/v1/health/live/", live, name="health-live"),
    path("admin/", admin.site.urls),
]
