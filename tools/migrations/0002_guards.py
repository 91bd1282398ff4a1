"""What no model can say: versions of a tool and published policies stay as they are."""

from django.db import migrations

from orchestrator_site.core import append_only

# What was published is never changed: rulings name it.
_FROZEN = """
CREATE FUNCTION baton_policy_is_draft() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM tools_policy WHERE id IN (OLD.policy_id, NEW.policy_id) AND status <> 'draft') THEN
        RAISE EXCEPTION 'only a draft of the policy is changed' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN COALESCE(NEW, OLD);
END $$;
CREATE TRIGGER policy_rule_of_draft BEFORE INSERT OR UPDATE OR DELETE ON tools_policyrule
    FOR EACH ROW EXECUTE FUNCTION baton_policy_is_draft();
CREATE TRIGGER policy_window_of_draft BEFORE INSERT OR UPDATE OR DELETE ON tools_policywindow
    FOR EACH ROW EXECUTE FUNCTION baton_policy_is_draft();
"""
_THAWED = """
DROP TRIGGER policy_rule_of_draft ON tools_policyrule;
DROP TRIGGER policy_window_of_draft ON tools_policywindow;
DROP FUNCTION baton_policy_is_draft();
"""


class Migration(migrations.Migration):
    dependencies = [("tools", "0001_initial"), ("core", "0001_initial")]

    operations = [append_only.guard("tools_toolversion"), migrations.RunSQL(_FROZEN, _THAWED)]
