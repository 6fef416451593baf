"""What a terminal or a log shows while runs train and measures run: read from the files that they leave, never asked of them."""
