"""Console: the pages for people in browsers - signing in, GraphiQL, the description of REST. All of it comes from here."""
