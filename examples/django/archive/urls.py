"""Where everything is."""

from django.contrib import admin
from django.contrib.auth import views as accounts
from django.urls import path

from documents import views

urlpatterns = [
    path("", views.Documents.as_view(), name="documents"),
    path("upload", views.Upload.as_view(), name="upload"),
    path("<int:pk>/delete", views.Delete.as_view(), name="delete"),
    path("log-in", accounts.LoginView.as_view(), name="login"),
    path("log-out", accounts.LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
]
