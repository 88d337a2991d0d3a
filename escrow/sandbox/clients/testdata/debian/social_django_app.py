# python-social-auth under Django with its generic backend "oidc", as its documentation has it.
import os

import django
from django.conf import settings
from django.core.management import call_command
from django.http import HttpResponse
from django.urls import include, path

settings.configure(
    SECRET_KEY=os.environ["SECRET"],
    DEBUG=True,
    ALLOWED_HOSTS=["localhost"],
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.join(os.environ["DIR"], "db.sqlite")}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "social_django"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware"],
    AUTHENTICATION_BACKENDS=["social_core.backends.open_id_connect.OpenIdConnectAuth"],
    SOCIAL_AUTH_OIDC_OIDC_ENDPOINT=os.environ["ISSUER"],
    SOCIAL_AUTH_OIDC_KEY=os.environ["CLIENT_ID"],
    SOCIAL_AUTH_OIDC_SECRET=os.environ["CLIENT_SECRET"],
    SOCIAL_AUTH_JSONFIELD_ENABLED=True,
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    LOGIN_REDIRECT_URL="/",
)
django.setup()


def home(request):
    return HttpResponse("signed in as " + request.user.social_auth.get(provider="oidc").uid)


urlpatterns = [path("", home), path("", include("social_django.urls", namespace="social"))]
call_command("migrate", verbosity=0)
call_command("runserver", "127.0.0.1:" + os.environ["PORT"], use_reloader=False)
