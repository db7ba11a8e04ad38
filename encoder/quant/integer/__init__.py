"""Networks that compute in integers: static and dynamic int8."""
