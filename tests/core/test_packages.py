"""What is said where an optional package is missing."""

import pytest

from anrot_lib.core.errors import UserError
from anrot_lib.core.packages import check_packages


def test_every_missing_package_is_named_with_the_extra_that_has_it():
    check_packages("tests need", ("numpy", "torch"), "course")
    with pytest.raises(UserError, match=r"^tests need no_such_one and nor_this: pip install 'anrot-lib\[course\]'$"):
        check_packages("tests need", ("numpy", "no_such_one", "nor_this"), "course")
