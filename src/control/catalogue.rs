//! The capability catalogue of access keys: the domains that orq.ai names, for people and for warnings.
//!
//! It only informs. What a key may do is its access map's to say, also on domains that are not listed here.

/// What a domain belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DomainGroup {
    /// Administration of the workspace. Not to be limited to one project.
    WorkspaceAdmin,
    /// Things that are built on the platform.
    Platform,
    /// Calls of models.
    Gateway,
}

/// A part of the platform that an access map gives a level on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Domain {
    /// Its name in access maps.
    pub(super) id: &'static str,
    /// Its name for people.
    pub(super) display_name: &'static str,
    /// What it belongs to.
    pub(super) group: DomainGroup,
    /// Verbs beyond those of its group that writing includes.
    pub(super) extra_write_verbs: &'static [&'static str],
}

/// Every domain that is known, by group.
pub(super) const DOMAINS: &[Domain] = &[
    admin("api-key", "API keys"),
    admin("member", "Members"),
    admin("billing", "Billing"),
    admin("sso", "Single sign-on"),
    admin("group", "Groups"),
    admin("audit-log", "Audit log"),
    admin("workspace", "Workspace"),
    platform("agent", "Agents"),
    platform("agent-schedule", "Agent schedules"),
    platform("annotation", "Annotations"),
    platform("chunking", "Chunking"),
    platform("dataset", "Datasets"),
    platform("deployment", "Deployments"),
    platform("eval", "Evaluators"),
    platform("file", "Files"),
    platform("guardrail-rule", "Guardrail rules"),
    platform("identity", "Identities"),
    Domain {
        extra_write_verbs: &["insights.run"],
        ..platform("insights", "Insights")
    },
    platform("knowledge", "Knowledge bases"),
    platform("memory-store", "Memory stores"),
    platform("policy", "Policies"),
    platform("project", "Projects"),
    platform("prompt", "Prompts"),
    platform("routing-rule", "Routing rules"),
    platform("skill", "Skills"),
    platform("tool", "Tools"),
    gateway("audio_speech", "Speech"),
    gateway("audio_transcription", "Transcription"),
    gateway("chat_completions", "Chat completions"),
    gateway("embeddings", "Embeddings"),
    gateway("images", "Images"),
    gateway("mcp_gateway", "MCP gateways"),
    gateway("model", "Models"),
    gateway("moderations", "Moderations"),
    gateway("realtime", "Realtime"),
    gateway("responses", "Responses"),
];

/// Whether a domain is in the catalogue.
pub(super) fn is_known(domain: &str) -> bool {
    DOMAINS.iter().any(|known| known.id == domain)
}

const fn admin(id: &'static str, display_name: &'static str) -> Domain {
    domain(id, display_name, DomainGroup::WorkspaceAdmin)
}

const fn platform(id: &'static str, display_name: &'static str) -> Domain {
    domain(id, display_name, DomainGroup::Platform)
}

const fn gateway(id: &'static str, display_name: &'static str) -> Domain {
    domain(id, display_name, DomainGroup::Gateway)
}

const fn domain(id: &'static str, display_name: &'static str, group: DomainGroup) -> Domain {
    Domain {
        id,
        display_name,
        group,
        extra_write_verbs: &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_domain_is_listed_twice() {
        let mut ids: Vec<_> = DOMAINS.iter().map(|domain| domain.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), DOMAINS.len());
        assert!(is_known("deployment") && !is_known("deployments"));
    }
}
