from django.urls import path

from approvals import views

app_name = "approvals"

urlpatterns = [
    path("approvals/", views.queue, name="queue"),
    path("approvals/standing/", views.standing_list, name="standing"),
    path("approvals/standing/<int:standing_id>/revoke/", views.revoke, name="revoke"),
    path("approvals/<uuid:request_id>/", views.page, name="page"),
    path("approvals/<uuid:request_id>/decide/", views.decide, name="decide"),
    path("approvals/<uuid:request_id>/split/", views.split, name="split"),
]
