"""The room that knows order, yesterday and concurrency: fetch, prove, decrypt, sign, send."""
