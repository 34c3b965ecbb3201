"""What is kept."""

from django.conf import settings
from django.db import models


class Document(models.Model):
    title = models.CharField(max_length=100)
    file = models.FileField(upload_to="%Y")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, editable=False)
    uploaded = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self):
        return self.title
