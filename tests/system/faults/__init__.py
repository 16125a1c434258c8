"""A cluster on hosts with systemds of their own, under load, while everything breaks that can."""
