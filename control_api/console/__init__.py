"""Console: the pages for people in browsers, and their assets. Nothing is fetched from elsewhere."""
