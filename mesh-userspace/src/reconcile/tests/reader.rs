//! Programs as they are when they are preempted: each holds what it has read so far, and goes on later.

use super::world::service_of;
use crate::maps::{Maps, MemoryMaps};
use mesh_common::tables::{BackendId, BackendTag, Connection, FrontendKey, Rule, ServiceId, SlotRange};

/// Where a program was interrupted.
#[derive(Clone, Copy, Debug)]
enum Held {
    /// It holds an element of `FRONTENDS`.
    Element(usize),
    /// It has read the entry's number.
    Entry(ServiceId),
    /// It has read the entry's words.
    Words { range: SlotRange, account: ServiceId },
    /// It has picked a backend.
    Backend { id: BackendId, account: ServiceId },
}

/// A program that runs.
#[derive(Clone, Debug)]
pub struct Reader {
    key: FrontendKey,
    /// Whose frontend it was when it was looked up, and who took it over with all that it leads to.
    service: u8,
    heir: u8,
    held: Held,
}

/// A connection that a program made.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    pub cookie: u64,
    pub account: ServiceId,
    pub backend: BackendId,
    service: u8,
}

/// Programs and connections at one time.
#[derive(Debug, Default)]
pub struct Readers {
    running: Vec<Reader>,
    pub open: Vec<Open>,
    cookies: u64,
}

impl Readers {
    /// A program starts for each frontend and is interrupted at each place.
    pub fn start(&mut self, maps: &MemoryMaps, owner: impl Fn(&FrontendKey) -> Option<(u8, u8)>) {
        let arrays = maps.arrays();
        for (key, id) in maps.frontends().unwrap() {
            // Only what leads somewhere says whose it is; tests know who is meant to have it.
            let Some((service, heir)) = owner(&key) else { continue };
            let element = maps.frontend_element(&key).unwrap();
            let mut start = |held| self.running.push(Reader { key, service, heir, held });
            start(Held::Element(element));
            start(Held::Entry(id));
            let Some(entry) = arrays.service(id) else { panic!("{key} leads to entry {}", id.0) };
            let range = SlotRange::unpack(entry.slots.load());
            let account = Rule::account_of(entry.rule.load());
            start(Held::Words { range, account });
            for position in range.base..range.base + range.len {
                start(Held::Backend { id: arrays.slots[position as usize].load(), account });
            }
        }
    }

    /// How many run: those that were started before are the first.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// The first `count` end; every `connecting`th makes a connection with the last thing it does.
    pub fn end(&mut self, maps: &mut MemoryMaps, count: usize, connecting: usize) {
        let ended: Vec<Reader> = self.running.drain(..count).collect();
        for reader in ended.iter().step_by(connecting.max(1)) {
            self.connect(maps, reader);
        }
    }

    fn connect(&mut self, maps: &mut MemoryMaps, reader: &Reader) {
        let mut outcome = None;
        reader.outcomes(maps, |backend, account| outcome = Some((backend, account)));
        let Some((backend, account)) = outcome else { return };
        let arrays = maps.arrays();
        arrays.service(account).unwrap().active.fetch_add(1);
        arrays.backend(backend).unwrap().active.fetch_add(1);
        self.cookies += 1;
        let cookie = self.cookies;
        let connection = Connection {
            frontend: reader.key,
            account,
            service: account,
            backend,
            netns: 1,
            opened_at: 1,
            flags: mesh_common::tables::CONFIRMED,
            client: 0,
        };
        let service = service_of(arrays.backend(backend).unwrap().address());
        maps.insert_connection(cookie, connection);
        self.open.push(Open { cookie, account, backend, service });
    }

    /// Closes the connections that `closes` says.
    pub fn close(&mut self, maps: &mut MemoryMaps, mut closes: impl FnMut() -> bool) {
        self.open.retain(|open| {
            let close = closes();
            if close {
                assert!(maps.take_connection(open.cookie).unwrap().is_some());
                assert!(maps.arrays().service(open.account).unwrap().active.fetch_sub(1) > 0);
                assert!(maps.arrays().backend(open.backend).unwrap().active.fetch_sub(1) > 0);
            }
            !close
        });
    }

    /// Every program, wherever it was interrupted, comes out at its own Service or is refused; every connection is
    /// still counted where it was.
    pub fn check(&self, maps: &MemoryMaps) {
        let arrays = maps.arrays();
        for reader in &self.running {
            reader.outcomes(maps, |id, account| {
                let backend = arrays.backend(id).unwrap_or_else(|| panic!("{reader:?} reaches backend {}", id.0));
                let tag = BackendTag::unpack(backend.tag.load())
                    .unwrap_or_else(|| panic!("{reader:?} reaches the free backend {}", id.0));
                let service = service_of(backend.address());
                assert!([reader.service, reader.heir].contains(&service), "{reader:?} reaches {}", backend.address());
                assert_eq!(tag.protocol, reader.key.protocol(), "{reader:?}");
                assert_eq!(tag.account, account, "{reader:?} is counted on another account than its backend");
                let target = tag.port.host() - 8000;
                let dialled = reader.key.port.host();
                assert!(target == dialled || (dialled == 81 && target == 80), "{reader:?} reaches port {target}");
            });
        }
        for open in &self.open {
            let backend = arrays.backend(open.backend).unwrap();
            let tag = BackendTag::unpack(backend.tag.load()).expect("an open connection's backend is not free");
            assert_eq!((tag.account, service_of(backend.address())), (open.account, open.service));
            let account = arrays.service(open.account).unwrap();
            assert_eq!(Rule::account_of(account.rule.load()), open.account, "an open connection's account is not free");
            assert!(account.active.load() > 0 && backend.active.load() > 0);
        }
    }
}

impl Reader {
    /// Every backend, and the account with it, at which this program may come out now.
    fn outcomes(&self, maps: &MemoryMaps, mut each: impl FnMut(BackendId, ServiceId)) {
        let arrays = maps.arrays();
        let mut at_words = |range: SlotRange, account| {
            for position in range.base..range.base + range.len {
                each(arrays.slots[position as usize].load(), account);
            }
        };
        let words = |id: ServiceId| {
            let entry = arrays.service(id).unwrap_or_else(|| panic!("{self:?} reaches entry {}", id.0));
            (SlotRange::unpack(entry.slots.load()), Rule::account_of(entry.rule.load()))
        };
        match self.held {
            Held::Element(element) => {
                let (range, account) = words(maps.element_value(element));
                at_words(range, account);
            }
            Held::Entry(id) => {
                let (range, account) = words(id);
                at_words(range, account);
            }
            Held::Words { range, account } => at_words(range, account),
            Held::Backend { id, account } => each(id, account),
        }
    }
}
