"""The server: a library over HTTP, for the page in the browser and for programs.

`app.py` puts the parts together, `running.py` runs them, `guard.py` refuses what is not meant for this server. It needs
the extra `serve`, so nothing here is imported before somebody serves.
"""
