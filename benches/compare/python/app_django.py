"""Django, with one view, without middleware and database."""

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    MIDDLEWARE=[],
    ROOT_URLCONF=__name__,
    SECRET_KEY="compare",
)


def hello(request):
    # Which a middleware would add, and without which connections to some servers end.
    headers = {"Content-Length": "13"}
    return HttpResponse("Hello, world!", content_type="text/plain", headers=headers)


urlpatterns = [path("hello", hello)]
application = get_wsgi_application()
