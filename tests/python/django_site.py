"""A Django project in one file: pages, a form with a file, a download."""

import os

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    DEBUG=False,
    LOGGING={
        "version": 1,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "loggers": {"django.request": {"handlers": ["console"]}},
    },
    MIDDLEWARE=[
        "django.middleware.common.CommonMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY="for tests",
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
)


def page(request):
    return HttpResponse(f"Hello, {request.GET.get('name', 'world')}")


def boom(request):
    raise RuntimeError("as asked")


def upload(request):
    file = request.FILES["file"]
    answer = {"name": file.name, "bytes": len(file.read()), "field": request.POST["field"]}
    return JsonResponse(answer)


def download(request):
    return FileResponse(open(os.environ["DOWNLOAD"], "rb"))


def stream(request):
    return StreamingHttpResponse((f"{number}\n" for number in range(3)), "text/plain")


def count(request):
    request.session["count"] = request.session.get("count", 0) + 1
    return HttpResponse(str(request.session["count"]))


urlpatterns = [
    path("", page),
    path("boom", boom),
    path("upload", upload),
    path("download", download),
    path("stream", stream),
    path("count", count),
]

import django  # noqa: E402

django.setup()
application = WSGIHandler()
