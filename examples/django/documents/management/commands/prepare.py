"""What is needed before the first start, and does no harm before others."""

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Makes the database, collects the static files and asks for an administrator"

    def add_arguments(self, parser):
        # createsuperuser has it, too: the environment says who it is.
        parser.add_argument("--no-input", action="store_false", dest="interactive")

    def handle(self, interactive, **_options):
        call_command("migrate", verbosity=0)
        call_command("collectstatic", verbosity=0, interactive=False)
        if not get_user_model().objects.filter(is_superuser=True).exists():
            call_command("createsuperuser", interactive=interactive)
