"""One short module per Lambda function: what came in, whom to ask, what to answer."""
