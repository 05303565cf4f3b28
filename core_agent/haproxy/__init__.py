"""The backend's burst servers: facts and steps over HAProxy's runtime API, and the file that says the same."""
