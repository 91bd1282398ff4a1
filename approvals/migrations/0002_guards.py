"""What no model can say: what was asked, decided and given stays as it was, whoever writes and by whatever way."""

from django.db import migrations

from orchestrator_site.core import append_only

# A request asks one thing for ever, is closed once and used once. It may leave those it is asked together with, and
# never join any.
_FROZEN = """
CREATE FUNCTION approvals_request_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an approval request is asked once, closed once and used once' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER approvals_request_frozen BEFORE UPDATE ON approvals_approvalrequest FOR EACH ROW WHEN (
    (OLD.id, OLD.kind, OLD.run_id, OLD.dispatch_id, OLD.call_id, OLD.frozen, OLD.digest, OLD.risk, OLD.title,
     OLD.reasoning, OLD.reasons, OLD.policy_version, OLD.requester_id, OLD.addressed_to, OLD.four_eyes, OLD.not_by,
     OLD.supersedes_id, OLD.approvers, OLD."group", OLD.place)
    IS DISTINCT FROM
    (NEW.id, NEW.kind, NEW.run_id, NEW.dispatch_id, NEW.call_id, NEW.frozen, NEW.digest, NEW.risk, NEW.title,
     NEW.reasoning, NEW.reasons, NEW.policy_version, NEW.requester_id, NEW.addressed_to, NEW.four_eyes, NEW.not_by,
     NEW.supersedes_id, NEW.approvers, NEW."group", NEW.place)
    OR OLD.status <> 'open' AND (OLD.status, OLD.edited_frozen, OLD.edited_digest)
                                IS DISTINCT FROM (NEW.status, NEW.edited_frozen, NEW.edited_digest)
    OR OLD.consumed_at IS NOT NULL AND (OLD.consumed_at, OLD.consumed_by_attempt)
                                       IS DISTINCT FROM (NEW.consumed_at, NEW.consumed_by_attempt)
    OR NEW.batch IS NOT NULL AND NEW.batch IS DISTINCT FROM OLD.batch
) EXECUTE FUNCTION approvals_request_is_frozen();
"""
_THAWED = """
DROP TRIGGER approvals_request_frozen ON approvals_approvalrequest;
DROP FUNCTION approvals_request_is_frozen();
"""

# Its terms are given once; it ends once, but that one that is used up may still be revoked; uses are only added.
_GIVEN_ONCE = """
CREATE FUNCTION approvals_standing_is_given() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a standing approval is given once, ended once and never given back uses'
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER approvals_standing_given BEFORE UPDATE ON approvals_standingapproval FOR EACH ROW WHEN (
    (OLD.id, OLD.tool, OLD.tool_version, OLD.agent, OLD.run_id, OLD.pattern, OLD.risk, OLD."group", OLD.decision_id,
     OLD.given_by_id, OLD.given_by_name, OLD.given_at, OLD.reason, OLD.expires_at, OLD.uses_at_most)
    IS DISTINCT FROM
    (NEW.id, NEW.tool, NEW.tool_version, NEW.agent, NEW.run_id, NEW.pattern, NEW.risk, NEW."group", NEW.decision_id,
     NEW.given_by_id, NEW.given_by_name, NEW.given_at, NEW.reason, NEW.expires_at, NEW.uses_at_most)
    OR NEW.uses < OLD.uses
    OR OLD.status <> 'active' AND NEW.status <> OLD.status AND NEW.status <> 'revoked'
    OR OLD.status = 'revoked' AND NEW.status <> 'revoked'
) EXECUTE FUNCTION approvals_standing_is_given();
CREATE TRIGGER approvals_standing_kept BEFORE DELETE OR TRUNCATE ON approvals_standingapproval
    FOR EACH STATEMENT EXECUTE FUNCTION approvals_standing_is_given();
"""
_GIVEN_FREELY = """
DROP TRIGGER approvals_standing_kept ON approvals_standingapproval;
DROP TRIGGER approvals_standing_given ON approvals_standingapproval;
DROP FUNCTION approvals_standing_is_given();
"""


class Migration(migrations.Migration):
    dependencies = [("approvals", "0001_initial"), ("core", "0001_initial")]

    operations = [
        migrations.RunSQL(_FROZEN, _THAWED),
        append_only.guard("approvals_decision"),
        append_only.guard("approvals_assent"),
        migrations.RunSQL(_GIVEN_ONCE, _GIVEN_FREELY),
        append_only.guard("approvals_standinguse"),
    ]
