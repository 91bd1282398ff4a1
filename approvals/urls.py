from django.urls import path

from approvals import views

app_name = "approvals"

urlpatterns = [
    path("approvals/", views.queue, name="queue"),
    path("approvals/<uuid:request_id>/", views.page, name="page"),
    path("approvals/<uuid:request_id>/decide/", views.decide, name="decide"),
]
