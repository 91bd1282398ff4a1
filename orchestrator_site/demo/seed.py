"""Put the desk into an installation: shop, tools, models, agents, people. Running it again changes only what differs."""

from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import Group, User

from agents import manifests
from agents.models import Agent, ModelEntry
from agents.values import ManifestSpec, ModelSpec
from orchestrator_site.core import roles, tokens
from orchestrator_site.demo import desk, shop
from tools import registry
from tools.models import EgressRule, Tool

# The demo listens on this machine only; these logins are printed at its start.
PASSWORD = "baton-demo"
PEOPLE = {
    "olivia": (roles.OPERATOR, "Olivia", "Operator"),
    "amir": (roles.APPROVER, "Amir", "Approver"),
    "ada": (roles.APPROVER, "Ada", "Approver"),
    "audrey": (roles.AUDITOR, "Audrey", "Auditor"),
    "shop-app": (roles.APP, "Shop", "App"),
}
SCOPES = {
    "shop-app": ["runs:read", "runs:write"],
    "amir": ["runs:read", "approvals:read", "approvals:decide"],
    "olivia": ["runs:read", "runs:write", "agents:read", "agents:write", "approvals:read", "tools:read"],
}


def seed(*, payments_url: str, model_url: str) -> None:
    shop.stock()
    people()
    allow(payments_url)
    for tool in desk.tools(payments_url):
        is_new = not Tool.objects.filter(name=tool.name).exists()
        version = registry.define(
            tool.name, risk=tool.risk, family=tool.family, brings=tool.brings, sinks=tool.sinks, **tool.content
        )
        if is_new and tool.confirmation != version.tool.confirmation:
            Tool.objects.filter(pk=version.tool_id).update(confirmation=tool.confirmation)
    for model in [desk.demo_model(model_url), *desk.claude_models()]:
        keep_model(model)
    # Whoever may be handed to comes before those who name it.
    for agent in sorted(desk.agents(model_chain()), key=lambda each: len(each.manifest.handoff_targets)):
        publish(agent.slug, agent.manifest)


def allow(payments_url: str) -> None:
    """The payment service is on this machine, which no tool may connect to unless a rule names it."""
    place = urlsplit(payments_url)
    EgressRule.objects.get_or_create(
        scheme=place.scheme,
        place=f"{place.hostname}/32",
        port=place.port,
        defaults={"note": "The demo's payment service."},
    )


def model_chain() -> tuple[str, ...]:
    """Claude where there is a key, else the bundled model server."""
    return ("claude-haiku-5-5", "claude-sonnet-5-5") if settings.ANTHROPIC_API_KEY else (desk.DEMO_MODEL,)


def people() -> None:
    for username, (role, first_name, last_name) in PEOPLE.items():
        user, created = User.objects.get_or_create(
            username=username, defaults={"first_name": first_name, "last_name": last_name, "is_staff": True}
        )
        if created:
            user.set_password(PASSWORD)
            user.save()
        user.groups.add(Group.objects.get(name=role))


def keep_model(model: ModelSpec) -> None:
    """The endpoint moves with the port of the model server; prices an operator corrected stay."""
    values = {field: value for field, value in asdict(model).items() if field != "is_priced"}
    name, endpoint = values.pop("name"), values.pop("endpoint")
    entry, _ = ModelEntry.objects.get_or_create(name=name, defaults=values | {"endpoint": endpoint})
    if entry.endpoint != endpoint:
        entry.endpoint = endpoint
        entry.save()


def publish(slug: str, spec: ManifestSpec) -> None:
    """Put a manifest to work unless it is the one at work; an agent that an operator retired stays retired."""
    agent = Agent.objects.filter(slug=slug).select_related("published").first()
    if agent is None or agent.published is None or agent.published.spec() != spec:
        manifests.publish(manifests.draft(slug, spec, by=None), by=None)


def access(folder: Path) -> dict[str, str]:
    """A bearer token for each person who uses the API, kept in the data folder between starts."""
    return {username: _token(username, folder / f"token-{username}") for username in SCOPES}


def _token(username: str, file: Path) -> str:
    if file.exists() and tokens.Token.objects.filter(secret_digest=tokens.digest(file.read_text())).exists():
        return file.read_text()
    user = User.objects.get(username=username)
    _, secret = tokens.create(user, SCOPES[username], by=None, name="demo", days=tokens.DEFAULT_DAYS)
    file.touch(mode=0o600)
    file.write_text(secret)
    return secret
