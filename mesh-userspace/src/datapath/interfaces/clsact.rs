//! Direct-action filters of a clsact qdisc, for kernels without TCX. They belong to the interface and need no pin. Other programs,
//! the CNI's above all, have theirs on the same qdisc, and are never touched.
//!
//! Ours come first: most filters of others end the chain (`TC_ACT_OK`, a redirect), and what they let through unseen would not be
//! counted. What they drop after us takes no slot, since no handshake ends.

use super::name::Name;
use super::{Attach, Programs};
use crate::bpf;
use crate::datapath::{Error, PACKET_HOOKS, PacketHook};
use crate::netlink::Rtnetlink;
use aya_obj::generated::bpf_attach_type::BPF_TCX_INGRESS;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcHeader, TcMessage, TcOption,
};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The kind of qdisc that has filters in both directions.
const CLSACT: &str = "clsact";

/// Packets of every protocol, as the kernel has it: in network order, in the low half of `tcm_info`.
const ALL_PROTOCOLS: u16 = (libc::ETH_P_ALL as u16).to_be();

/// Handles of ours begin here. Low ones are others': who attaches "at priority 1, handle 1" replaces whatever is there.
const FIRST_HANDLE: u32 = u32::from_be_bytes(*b"mesh");

/// The filters of one layout.
#[derive(Debug)]
pub struct Clsact {
    layout: PathBuf,
    /// The interfaces with filters of this layout, once they were looked for.
    there: Option<BTreeSet<u32>>,
}

/// A filter, or (with handle 0) the list of filters of one priority.
#[derive(Debug)]
struct Filter {
    chain: u32,
    priority: u16,
    protocol: u16,
    handle: u32,
    kind: String,
    name: Option<Name>,
    program: Option<u32>,
}

impl Clsact {
    /// Over whatever an earlier agent left.
    pub fn new(layout: &Path) -> Self {
        Self { layout: absolute(layout), there: None }
    }

    /// Puts a program in force at one hook: first of all filters, behind the filter that is there in one step. Where that one is
    /// not first any more, another is added before it goes.
    fn place(&self, netlink: &Rtnetlink, at: &Place, program: &OwnedFd, with_qdisc: bool) -> io::Result<()> {
        let mut filters = at.filters(netlink)?;
        // Packets begin with chain 0.
        filters.retain(|filter| filter.chain == 0);
        let priority = first_priority(&filters);
        let id = bpf::program_info(program.as_fd())?.id;
        let is_ours = |filter: &&Filter| filter.name.as_ref().is_some_and(|name| name.is(&self.layout, &at.hook));
        // Of another agent's filters it matters not which is first: two agents do not contend for the place.
        let counts = |filter: &&Filter| filter.priority == priority && (filter.name.is_none() || is_ours(filter));
        let kept = filters.iter().filter(|filter| filter.handle != 0).find(counts).filter(is_ours);
        let name = Name { layout: self.layout.clone(), hook: at.hook, with_qdisc };
        match kept {
            Some(filter) if filter.program == Some(id) => {}
            Some(filter) => netlink.change(at.with(priority, filter.handle, program, &name), 0)?,
            None => {
                let is_free = |handle: &u32| !filters.iter().any(|f| (f.priority, f.handle) == (priority, *handle));
                let handle = (FIRST_HANDLE..=u32::MAX).find(is_free).unwrap_or(FIRST_HANDLE);
                netlink.change(at.with(priority, handle, program, &name), NLM_F_CREATE | NLM_F_EXCL)?;
            }
        }
        let kept = kept.map(|filter| (filter.priority, filter.handle));
        let others = filters.iter().filter(is_ours).filter(|filter| Some((filter.priority, filter.handle)) != kept);
        others.into_iter().try_for_each(|filter| at.delete(netlink, filter))
    }

    /// Takes this layout's filters off an interface; and the qdisc, if an agent made it and nobody else has filters there.
    fn clear(&self, netlink: &Rtnetlink, interface: u32) -> io::Result<()> {
        let (mut with_qdisc, mut others) = (false, false);
        for hook in PACKET_HOOKS.into_iter().rev() {
            let at = Place { interface, hook };
            for filter in at.filters(netlink)? {
                match &filter.name {
                    Some(name) if name.is(&self.layout, &hook) => {
                        with_qdisc |= name.with_qdisc;
                        at.delete(netlink, &filter)?;
                    }
                    _ => others |= filter.handle != 0 || filter.kind != TcFilterBpf::KIND,
                }
            }
        }
        if with_qdisc && !others {
            gone(netlink.change(RouteNetlinkMessage::DelQueueDiscipline(qdisc(interface)), 0))?;
        }
        Ok(())
    }
}

impl Attach for Clsact {
    fn there(&mut self) -> Result<BTreeSet<u32>, Error> {
        if self.there.is_none() {
            self.there = Some(find(&self.layout)?);
        }
        Ok(self.there.clone().unwrap_or_default())
    }

    fn attach(&mut self, interface: u32, programs: &Programs) -> Result<(), Error> {
        let failed = |program, source| Error::AttachInterface { program, interface, source };
        let failed_qdisc = |source| failed(CLSACT, source);
        let netlink = Rtnetlink::route().map_err(failed_qdisc)?;
        let filters = PACKET_HOOKS.iter().map(|hook| Place { interface, hook: *hook }.filters(&netlink));
        let filters = filters.collect::<io::Result<Vec<_>>>().map_err(failed_qdisc)?;
        let names: Vec<&Name> = filters.iter().flatten().filter_map(|filter| filter.name.as_ref()).collect();
        // Where one of ours is, the qdisc is there, and it says whose that is.
        let with_qdisc =
            if names.is_empty() { make_qdisc(&netlink, interface)? } else { names.iter().any(|name| name.with_qdisc) };
        self.there.get_or_insert_default().insert(interface);
        programs.iter().try_for_each(|(hook, program)| {
            let at = Place { interface, hook: *hook };
            self.place(&netlink, &at, program, with_qdisc).map_err(|source| failed(hook.name, source))
        })
    }

    fn remove(&mut self, interface: u32) -> Result<(), Error> {
        if !self.there()?.contains(&interface) {
            return Ok(());
        }
        let cleared = Rtnetlink::route().and_then(|netlink| self.clear(&netlink, interface));
        cleared.map_err(|source| Error::DetachInterface { interface, source })?;
        self.there.get_or_insert_default().remove(&interface);
        Ok(())
    }
}

/// Takes all filters of a layout off, at every interface of the calling thread's network namespace. At how many there were some.
pub fn remove_all(layout: &Path) -> Result<usize, Error> {
    let mut filters = Clsact::new(layout);
    let there = filters.there()?;
    there.iter().try_for_each(|interface| filters.remove(*interface))?;
    Ok(there.len())
}

/// The interfaces with filters of a layout.
fn find(layout: &Path) -> Result<BTreeSet<u32>, Error> {
    let netlink = Rtnetlink::route().map_err(Error::io("open", "a netlink socket"))?;
    let mut interfaces = BTreeSet::new();
    let listed = netlink.list(RouteNetlinkMessage::GetLink(LinkMessage::default()), |answer| {
        if let RouteNetlinkMessage::NewLink(link) = answer {
            interfaces.insert(link.header.index);
        }
    });
    listed.map_err(Error::io("list", "the node's interfaces"))?;
    let is_there = |interface: &u32| {
        PACKET_HOOKS.iter().any(|hook| match (Place { interface: *interface, hook: *hook }).filters(&netlink) {
            Ok(filters) => filters.iter().any(|f| f.name.as_ref().is_some_and(|name| name.is(layout, hook))),
            Err(error) => {
                tracing::warn!(%error, interface, "the filters of an interface cannot be read");
                false
            }
        })
    };
    interfaces.retain(is_there);
    Ok(interfaces)
}

/// The lowest priority at which filters for programs may be: at lower ones there are others, of kinds that cannot be joined.
fn first_priority(filters: &[Filter]) -> u16 {
    let is_taken = |priority: u16| {
        let mut there = filters.iter().filter(|filter| filter.priority == priority);
        there.any(|filter| filter.kind != TcFilterBpf::KIND || filter.protocol != ALL_PROTOCOLS)
    };
    (1..u16::MAX).find(|priority| !is_taken(*priority)).unwrap_or(u16::MAX)
}

/// One direction of one interface.
struct Place {
    interface: u32,
    hook: PacketHook,
}

impl Place {
    fn header(&self, priority: u16, handle: u32) -> TcHeader {
        let minor = if self.hook.attach_type == BPF_TCX_INGRESS { TcHandle::MIN_INGRESS } else { TcHandle::MIN_EGRESS };
        TcHeader {
            index: self.interface.cast_signed(),
            handle: handle.into(),
            parent: TcHandle { minor, ..TcHandle::CLSACT },
            info: u32::from(priority) << 16 | if priority == 0 { 0 } else { u32::from(ALL_PROTOCOLS) },
            ..TcHeader::default()
        }
    }

    /// Every filter, in the order in which they run.
    fn filters(&self, netlink: &Rtnetlink) -> io::Result<Vec<Filter>> {
        let mut filters = Vec::new();
        let question = TcMessage::from_parts(self.header(0, 0), Vec::new());
        netlink.list(RouteNetlinkMessage::GetTrafficFilter(question), |answer| {
            if let RouteNetlinkMessage::NewTrafficFilter(message) = answer {
                filters.push(Filter::read(message));
            }
        })?;
        Ok(filters)
    }

    /// A filter with this program.
    fn with(&self, priority: u16, handle: u32, program: &OwnedFd, name: &Name) -> RouteNetlinkMessage {
        let options = [
            TcFilterBpfOption::ProgFd(program.as_raw_fd().cast_unsigned()),
            TcFilterBpfOption::ProgName(name.to_string()),
            TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
        ];
        let options = TcAttribute::Options(options.map(TcOption::Bpf).into());
        let attributes = vec![TcAttribute::Kind(TcFilterBpf::KIND.to_owned()), options];
        RouteNetlinkMessage::NewTrafficFilter(TcMessage::from_parts(self.header(priority, handle), attributes))
    }

    fn delete(&self, netlink: &Rtnetlink, filter: &Filter) -> io::Result<()> {
        let header = self.header(filter.priority, filter.handle);
        let attributes = vec![TcAttribute::Kind(TcFilterBpf::KIND.to_owned())];
        gone(netlink.change(RouteNetlinkMessage::DelTrafficFilter(TcMessage::from_parts(header, attributes)), 0))
    }
}

impl Filter {
    fn read(message: TcMessage) -> Self {
        let (priority, protocol) = ((message.header.info >> 16) as u16, message.header.info as u16);
        let handle = message.header.handle.into();
        let mut filter = Self { chain: 0, priority, protocol, handle, kind: String::new(), name: None, program: None };
        for attribute in message.attributes {
            match attribute {
                TcAttribute::Kind(kind) => filter.kind = kind,
                TcAttribute::Chain(chain) => filter.chain = chain,
                TcAttribute::Options(options) => {
                    for option in options {
                        match option {
                            TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => filter.name = Name::parse(&name),
                            TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => filter.program = Some(id),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        filter
    }
}

fn qdisc(interface: u32) -> TcMessage {
    let header = TcHeader {
        index: interface.cast_signed(),
        handle: TcHandle { minor: 0, ..TcHandle::CLSACT },
        parent: TcHandle::CLSACT,
        ..TcHeader::default()
    };
    TcMessage::from_parts(header, vec![TcAttribute::Kind(CLSACT.to_owned())])
}

/// Makes the qdisc unless it is there; whether it was made.
fn make_qdisc(netlink: &Rtnetlink, interface: u32) -> Result<bool, Error> {
    let failed = |source| Error::AttachInterface { program: CLSACT, interface, source };
    match kind_of_qdisc(netlink, interface).map_err(failed)? {
        None => {
            let add = RouteNetlinkMessage::NewQueueDiscipline(qdisc(interface));
            netlink.change(add, NLM_F_CREATE | NLM_F_EXCL).map_err(failed)?;
            Ok(true)
        }
        Some(kind) if kind == CLSACT => Ok(false),
        Some(kind) => Err(Error::OtherQdisc { interface, kind }),
    }
}

/// The kind of the qdisc that filters hang on; `None` where there is none.
fn kind_of_qdisc(netlink: &Rtnetlink, interface: u32) -> io::Result<Option<String>> {
    let mut kind = None;
    // The list of all: asked for one by itself, the kernel tells everybody who follows qdiscs, this agent included.
    netlink.list(RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default()), |answer| {
        let RouteNetlinkMessage::NewQueueDiscipline(qdisc) = answer else { return };
        if qdisc.header.index == interface.cast_signed() && qdisc.header.parent == TcHandle::CLSACT {
            kind = qdisc.attributes.into_iter().find_map(|attribute| match attribute {
                TcAttribute::Kind(kind) => Some(kind),
                _ => None,
            });
        }
    })?;
    Ok(kind)
}

/// What is gone already need not be taken away: the filter, its qdisc or its interface.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV | libc::EINVAL)) => Ok(()),
        result => result,
    }
}

/// Without a `.`, so that one layout has one name.
fn absolute(layout: &Path) -> PathBuf {
    std::path::absolute(layout).unwrap_or_else(|_| layout.to_path_buf())
}
