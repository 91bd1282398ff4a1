from django.contrib.auth.hashers import PBKDF2PasswordHasher


class QuickHasher(PBKDF2PasswordHasher):
    """One round instead of a million; what it writes is read by the ordinary hasher of the stack's processes."""

    iterations = 1
