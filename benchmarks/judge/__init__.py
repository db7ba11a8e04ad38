"""Two commits of this project in turns over HTTP: which one needs less CPU."""
