"""The blueprints of the console; routes.py, account_list.py and their neighbours hang their routes on them."""

from flask import Blueprint

bp = Blueprint("console", __name__)
providers = Blueprint("providers", __name__)  # for provider_routes.py and its neighbours
