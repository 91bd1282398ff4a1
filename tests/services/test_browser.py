import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect


@pytest.mark.browser
def test_a_person_signs_in(page: Page) -> None:
    User.objects.create_superuser("olga", password="a long enough one")

    page.goto("/admin/")
    page.get_by_label("Username").fill("olga")
    page.get_by_label("Password").fill("a long enough one")
    page.get_by_role("button", name="Log in").click()

    expect(page).to_have_url(f"{page.url.split('/admin/')[0]}/admin/")
    expect(page.get_by_text("olga").first).to_be_visible()
