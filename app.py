"""The door for WSGI servers: `app:app` is the console for the installation that the environment describes."""

import os

from mailadmin.config import read_settings
from mailadmin.factory import create_app

app = create_app(read_settings(os.environ))
