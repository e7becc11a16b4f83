"""_app_name_."""
