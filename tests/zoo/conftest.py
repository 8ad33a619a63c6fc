"""`make zoo` runs these programs; `pytest` collects nothing here."""

collect_ignore_glob = ["*.py"]
