from django.urls import path

from runs.consumers import RunConsumer

urlpatterns = [path("ws/runs/<uuid:run_id>/", RunConsumer.as_asgi())]
