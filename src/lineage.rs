//! Lineage: which listener, pool and backend of a configuration is which of the one before it. Pure.
//!
//! A listener or a pool is the same if its name is. A backend is the same if it stands in the same pool at the same address:
//! under another name it is still the machine that was measured and checked, and at another address it is not.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use crate::config::{Address, Config};
use crate::table::BackendId;

/// For each thing of a configuration its place in the one before, if it was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// By listener.
    pub listeners: Vec<Option<usize>>,
    /// By pool.
    pub pools: Vec<Option<usize>>,
    /// By the place of the backend in the table.
    pub backends: Vec<Option<usize>>,
}

impl Lineage {
    /// With nothing before it.
    pub fn of_first(config: &Config) -> Lineage {
        Lineage {
            listeners: vec![None; config.listeners.len()],
            pools: vec![None; config.pools.len()],
            backends: vec![None; config.backends().count()],
        }
    }

    /// What `next` has of `before`.
    pub fn between(before: &Config, next: &Config) -> Lineage {
        fn listeners(config: &Config) -> Vec<&str> {
            config.listeners.iter().map(|one| one.name.as_str()).collect()
        }
        fn pools(config: &Config) -> Vec<&str> {
            config.pools.iter().map(|one| one.name.as_str()).collect()
        }
        Lineage {
            listeners: places(listeners(before), listeners(next)),
            pools: places(pools(before), pools(next)),
            backends: places(backends(before), backends(next)),
        }
    }

    /// For each backend of the table before its id now, if it is still there.
    pub fn heirs(&self, before: usize) -> Vec<Option<BackendId>> {
        inverse(&self.backends, before).into_iter().map(|place| place.map(BackendId::new)).collect()
    }

    /// For each listener before its place now, if it is still there.
    pub fn listener_heirs(&self, before: usize) -> Vec<Option<usize>> {
        inverse(&self.listeners, before)
    }
}

/// Where each of so many places before is now.
fn inverse(now: &[Option<usize>], before: usize) -> Vec<Option<usize>> {
    let mut heirs = vec![None; before];
    for (next, place) in now.iter().enumerate() {
        if let Some(place) = place {
            heirs[*place] = Some(next);
        }
    }
    heirs
}

impl Config {
    /// What each backend is in another configuration, however many lie between.
    pub fn found_in(&self, other: &Config) -> Vec<Option<BackendId>> {
        let places = places(backends(other), backends(self));
        places.into_iter().map(|place| place.map(BackendId::new)).collect()
    }
}

/// Pool and address of each, in the order of the table.
fn backends(config: &Config) -> Vec<(&str, Address)> {
    config.backends().map(|(pool, backend)| (pool.name.as_str(), backend.address)).collect()
}

/// Where each of `next` stands in `before`. Where several are alike each is the heir of one.
fn places<K: Hash + Eq>(before: Vec<K>, next: Vec<K>) -> Vec<Option<usize>> {
    let mut known: HashMap<K, VecDeque<usize>> = HashMap::new();
    for (place, key) in before.into_iter().enumerate() {
        known.entry(key).or_default().push_back(place);
    }
    next.iter().map(|key| known.get_mut(key)?.pop_front()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn parse(pools: &[(&str, &[(&str, u16)])]) -> Config {
        let mut text = String::new();
        for (name, _) in pools {
            text +=
                &format!("[[listener]]\nname='to-{name}'\nbind='127.0.0.1:{}'\npool='{name}'\n", name.len());
        }
        for (name, backends) in pools {
            text += &format!("[[pool]]\nname='{name}'\n");
            for (backend, port) in *backends {
                text += &format!("[[pool.backend]]\nname='{backend}'\naddress='127.0.0.1:{port}'\n");
            }
        }
        config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn names_tell_listeners_and_pools_and_addresses_tell_backends() {
        let before = parse(&[("web", &[("a", 1), ("b", 2), ("c", 3)]), ("api1", &[("a", 1)])]);
        // b has another address, c another name; api1 stands first; what is new has the address of another pool.
        let next = parse(&[("api1", &[("a", 1), ("new", 2)]), ("web", &[("z", 3), ("a", 1), ("b", 9)])]);
        let lineage = Lineage::between(&before, &next);
        assert_eq!(lineage.listeners, [Some(1), Some(0)]);
        assert_eq!(lineage.pools, [Some(1), Some(0)]);
        assert_eq!(lineage.backends, [Some(3), None, Some(2), Some(0), None]);
        let id = |place| Some(BackendId::new(place));
        assert_eq!(lineage.heirs(4), [id(3), None, id(2), id(0)]);
    }

    #[test]
    fn a_configuration_is_its_own_heir() {
        let config = parse(&[("web", &[("a", 1), ("b", 2)])]);
        let lineage = Lineage::between(&config, &config);
        assert_eq!(lineage.backends, [Some(0), Some(1)]);
        assert_eq!((lineage.listeners, lineage.pools), (vec![Some(0)], vec![Some(0)]));
    }
}
