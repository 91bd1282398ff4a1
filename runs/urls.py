from django.urls import path

from runs import views

app_name = "runs"

urlpatterns = [
    path("runs/", views.index, name="index"),
    path("runs/start/", views.start, name="start"),
    path("runs/<uuid:run_id>/", views.page, name="page"),
    path("runs/<uuid:run_id>/cancel/", views.cancel, name="cancel"),
    path("runs/<uuid:run_id>/pause/", views.pause, name="pause"),
    path("runs/<uuid:run_id>/resume/", views.resume, name="resume"),
    path("runs/<uuid:run_id>/nodes/<uuid:node_id>/comment/", views.comment, name="comment"),
    path("runs/<uuid:run_id>/retry/", views.retry, name="retry"),
    path("runs/<uuid:run_id>/teach/", views.teach, name="teach"),
    path("runs/<uuid:run_id>/events/", views.event_log, name="events"),
    path("runs/<uuid:run_id>/artifacts/<uuid:artifact_id>/", views.artifact, name="artifact"),
    path("uncertain/", views.uncertain_calls, name="uncertain"),
    path("uncertain/<uuid:call_id>/", views.resolve, name="resolve"),
]
