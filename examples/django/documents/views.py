"""Pages for people with an account."""

from django.contrib.auth.mixins import LoginRequiredMixin
from django.urls import reverse_lazy
from django.views import generic

from .models import Document


class Documents(LoginRequiredMixin, generic.ListView):
    model = Document


class Upload(LoginRequiredMixin, generic.CreateView):
    model = Document
    fields = ["title", "file"]
    success_url = reverse_lazy("documents")

    def form_valid(self, form):
        form.instance.owner = self.request.user
        return super().form_valid(form)


class Delete(LoginRequiredMixin, generic.DeleteView):
    success_url = reverse_lazy("documents")

    def get_queryset(self):
        return Document.objects.filter(owner=self.request.user)

    def form_valid(self, form):
        self.object.file.delete(save=False)
        return super().form_valid(form)
