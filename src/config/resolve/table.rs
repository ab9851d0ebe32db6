//! All routes together: the table, and what only shows between routes.

use super::super::mistake::Mistake;
use super::super::node::Spot;
use super::super::raw::{File, Route};
use super::route::Around;
use crate::authz::{Policy, RouteTable};
use crate::proxy::{RouteLimits, RouteSettings, UpstreamConfig};

/// The table, with what is kept beside it by route.
pub(in super::super) struct Table {
    pub(in super::super) routes: RouteTable,
    pub(in super::super) policies: Vec<Policy>,
    pub(in super::super) settings: Vec<RouteSettings>,
}

/// Builds the table; whole only where nothing was pushed to `faults`, before or here.
pub(super) fn table(
    file: &File,
    root: &Spot<'_>,
    upstreams: &[UpstreamConfig],
    limits: &RouteLimits,
    faults: &mut Vec<Mistake>,
) -> Option<Table> {
    let around = Around {
        file,
        upstreams,
        limits,
    };
    let (mut specs, mut policies, mut settings) = (Vec::new(), Vec::new(), Vec::new());
    // Where each route of the table is in the file, as not every one gets into the table.
    let mut places = Vec::new();
    for (index, raw) in file.routes.iter().flatten().enumerate() {
        let at = root.key("routes").index(index);
        let is_comparable = !is_cut(&at, faults);
        let (spec, policy, setting) = around.route(raw, &at, faults);
        if spec.is_none() && shares_its_name(raw, file) {
            faults.push(at.key("name").mistake("another route has this name too"));
        }
        policies.extend(policy);
        settings.extend(setting);
        if let Some(spec) = spec.filter(|_| is_comparable) {
            specs.push(spec);
            places.push(at);
        }
    }
    match RouteTable::build(specs) {
        Ok(routes) => Some(Table {
            routes,
            policies,
            settings,
        }),
        Err(invalid) => {
            faults.extend(invalid.into_iter().map(|error| {
                let place = error.route.and_then(|id| places.get(id.0 as usize));
                match place {
                    Some(at) => at.mistake(error.message),
                    None => root.key("routes").mistake(error.message),
                }
            }));
            None
        }
    }
}

/// Whether something that tells a route from others was cut out of it: compared without, it would equal routes that
/// it does not equal.
fn is_cut(at: &Spot<'_>, faults: &[Mistake]) -> bool {
    ["hosts", "methods", "match"].iter().any(|key| {
        let at = at.key(key);
        faults.iter().any(|fault| fault.key.starts_with(at.path()))
    })
}

/// Whether another route is named as this one, for a route that the table never sees and so cannot compare.
fn shares_its_name(route: &Route, file: &File) -> bool {
    let all = file.routes.iter().flatten();
    route.name.is_some() && all.filter(|other| other.name == route.name).count() > 1
}
