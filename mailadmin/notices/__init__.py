"""Mail that we ourselves owe somebody."""
