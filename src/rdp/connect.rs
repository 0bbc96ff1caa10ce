//! The MCS domain of each leg: what a user's program asked for, what it is told, and what the target is asked instead
//! (MS-RDPBCGR sections 2.2.1.3 to 2.2.1.9).
//!
//! The bastion ends the user's domain itself, for the target is known only after Client Info. What the target is asked is
//! written anew from what is understood of the user's request, so that a block that is not known here passes to nobody.

use std::fmt;

use ironrdp_core::{Encode, decode, encode_vec};
use ironrdp_pdu::gcc::{
    ChannelDef, ChannelName, ChannelOptions, ClientEarlyCapabilityFlags, ClientGccBlocks, ClientNetworkData,
    ClientSecurityData, ConferenceCreateResponse, RdpVersion, ServerCoreData, ServerCoreOptionalData, ServerGccBlocks,
    ServerNetworkData, ServerSecurityData,
};
use ironrdp_pdu::mcs::{
    AttachUserConfirm, AttachUserRequest, ChannelJoinConfirm, ChannelJoinRequest, ConnectInitial, ConnectResponse,
    DomainParameters, ErectDomainPdu, McsMessage,
};
use ironrdp_pdu::nego::SecurityProtocol;
use ironrdp_pdu::x224::{X224, X224Data};

use super::nego::Chosen;
use super::pdu::{IO_CHANNEL, Malformed};

/// The widest and the highest desktop.
pub const SIDE_PIXELS_MAX: u16 = 8192;

/// The most pixels of a desktop. Each one takes four bytes wherever it is drawn.
pub const PIXELS_MAX: u32 = 32 << 20;

/// Whether a desktop of this size is carried.
pub fn is_carried(width: u16, height: u16) -> bool {
    let pixels = u32::from(width).saturating_mul(u32::from(height));
    (1..=SIDE_PIXELS_MAX).contains(&width) && (1..=SIDE_PIXELS_MAX).contains(&height) && pixels <= PIXELS_MAX
}

/// Why a request or an answer is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is not what it must be.
    Malformed(Malformed),
    /// The desktop would be larger than any that is carried.
    TooLarge(u16, u16),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::TooLarge(width, height) => write!(f, "a desktop of {width} by {height} pixels is too large"),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// What a user's program asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    blocks: ClientGccBlocks,
    names: Vec<String>,
}

impl Wanted {
    /// Reads an MCS Connect Initial.
    ///
    /// # Errors
    /// If it is none, or wants more than is carried.
    pub fn read(tpkt: &[u8]) -> Result<Self, Refusal> {
        let bad = Malformed("MCS Connect Initial");
        let X224(X224Data { data }) = decode::<X224<X224Data<'_>>>(tpkt).map_err(|_| bad)?;
        let initial = decode::<ConnectInitial>(&data).map_err(|_| bad)?;
        let blocks = initial.conference_create_request.into_gcc_blocks();
        let (width, height) = (blocks.core.desktop_width, blocks.core.desktop_height);
        if !is_carried(width, height) {
            return Err(Refusal::TooLarge(width, height));
        }
        let channels = blocks.channel_names().unwrap_or_default();
        // A name that is no ASCII is no channel that anybody knows.
        let names = channels.iter().map(|channel| channel.name.as_str().unwrap_or_default().to_owned()).collect();
        Ok(Self { blocks, names })
    }

    /// The desktop's width and height.
    pub fn size(&self) -> (u16, u16) {
        (self.blocks.core.desktop_width, self.blocks.core.desktop_height)
    }

    /// The keyboard's layout.
    pub fn keyboard_layout(&self) -> u32 {
        self.blocks.core.keyboard_layout
    }

    /// What the program calls itself, without what would disturb a terminal; and its build number.
    pub fn program(&self) -> (String, u32) {
        let name = self.blocks.core.client_name.chars().filter(|c| !c.is_control()).take(15).collect();
        (name, self.blocks.core.client_build)
    }

    /// The names of the static channels, in their order.
    pub fn channels(&self) -> &[String] {
        &self.names
    }

    /// The channels as the user's program knows them: the first after the I/O channel, and so on.
    pub fn own_domain(&self) -> Domain {
        let count = u16::try_from(self.names.len()).unwrap_or(u16::MAX);
        let first = IO_CHANNEL.saturating_add(1);
        let channels = (0..count).map(|at| first.saturating_add(at)).collect();
        Domain { user: first.saturating_add(count), io: IO_CHANNEL, channels }
    }

    /// The answer to the user's program.
    ///
    /// # Errors
    /// Not with what `read` took.
    pub fn response(&self, asked_bits: u32) -> Result<Vec<u8>, Malformed> {
        let bad = Malformed("MCS Connect Response");
        let domain = self.own_domain();
        let blocks = ServerGccBlocks {
            core: ServerCoreData {
                version: RdpVersion::V5_PLUS,
                optional_data: ServerCoreOptionalData {
                    // Programs compare these with what they asked for, to notice a change on the way.
                    client_requested_protocols: Some(SecurityProtocol::from_bits_retain(asked_bits)),
                    early_capability_flags: None,
                },
            },
            network: ServerNetworkData { channel_ids: domain.channels, io_channel: domain.io },
            security: ServerSecurityData::no_security(),
            message_channel: None,
            multi_transport_channel: None,
        };
        let response = ConnectResponse {
            conference_create_response: ConferenceCreateResponse::new(domain.user, blocks).map_err(|_| bad)?,
            called_connect_id: 1,
            domain_parameters: DomainParameters::target(),
        };
        wrapped(&response, bad)
    }

    /// What the target is asked: no graphics pipeline, no side ways, no redirection, and the static channels under the
    /// names that are `offered`.
    ///
    /// # Errors
    /// Not with what `read` took.
    pub fn for_target(&self, chosen: Chosen, offered: &[String]) -> Result<Vec<u8>, Malformed> {
        let bad = Malformed("MCS Connect Initial for a target");
        let mut core = self.blocks.core.clone();
        let more = &mut core.optional_data;
        if let Some(flags) = &mut more.early_capability_flags {
            *flags = flags.intersection(EARLY_ALLOWED);
        }
        // An optional field may only stand behind all those before it.
        more.server_selected_protocol = more.connection_type.map(|_| chosen.protocol());
        let channels = self.blocks.network.as_ref().map(|network| renamed(&network.channels, offered));
        let blocks = ClientGccBlocks {
            core,
            security: ClientSecurityData::no_security(),
            network: channels.map(|channels| ClientNetworkData { channels }),
            // Its absence says that this client follows no redirection.
            cluster: None,
            monitor: self.blocks.monitor.clone(),
            message_channel: None,
            multi_transport_channel: None,
            monitor_extended: None,
        };
        wrapped(&ConnectInitial::with_gcc_blocks(blocks).map_err(|_| bad)?, bad)
    }
}

/// What a target may know that the user's program understands. Left out are the graphics pipeline, whose pictures are not
/// decoded here; measuring of the network and heartbeats, which go by a channel of their own; relative mouse movements;
/// and leaving out the joining of channels.
const EARLY_ALLOWED: ClientEarlyCapabilityFlags = ClientEarlyCapabilityFlags::SUPPORT_ERR_INFO_PDU
    .union(ClientEarlyCapabilityFlags::WANT_32_BPP_SESSION)
    .union(ClientEarlyCapabilityFlags::SUPPORT_STATUS_INFO_PDU)
    .union(ClientEarlyCapabilityFlags::STRONG_ASYMMETRIC_KEYS)
    .union(ClientEarlyCapabilityFlags::VALID_CONNECTION_TYPE)
    .union(ClientEarlyCapabilityFlags::SUPPORT_MONITOR_LAYOUT_PDU);

fn renamed(channels: &[ChannelDef], offered: &[String]) -> Vec<ChannelDef> {
    let renamed = |(at, channel): (usize, &ChannelDef)| {
        let name = offered.get(at).and_then(|name| ChannelName::from_utf8(name));
        let compressed = ChannelOptions::COMPRESS | ChannelOptions::COMPRESS_RDP;
        ChannelDef {
            name: name.unwrap_or_else(|| ChannelName::new(*b"none\0\0\0\0")),
            options: channel.options.difference(compressed),
        }
    };
    channels.iter().enumerate().map(renamed).collect()
}

/// The channels of one leg, by the numbers that its peer knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// The user's own channel.
    pub user: u16,
    /// The channel of picture, keys and mouse.
    pub io: u16,
    /// The static virtual channels, in the order of their names.
    pub channels: Vec<u16>,
}

impl Domain {
    /// Every channel that is joined.
    pub fn joined(&self) -> Vec<u16> {
        [self.user, self.io].into_iter().chain(self.channels.iter().copied()).collect()
    }

    /// The place of a static channel; none if no channel has this number.
    pub fn place(&self, channel: u16) -> Option<usize> {
        self.channels.iter().position(|known| *known == channel)
    }
}

/// The channels that a target gave: the I/O channel, then the static ones.
///
/// # Errors
/// If that is no answer to a request with so many of them.
pub fn given(tpkt: &[u8], count: usize) -> Result<(u16, Vec<u16>), Malformed> {
    let bad = Malformed("MCS Connect Response of the target");
    let X224(X224Data { data }) = decode::<X224<X224Data<'_>>>(tpkt).map_err(|_| bad)?;
    let response = decode::<ConnectResponse>(&data).map_err(|_| bad)?;
    let (io, channels) = (response.global_channel_id(), response.channel_ids());
    let distinct = channels
        .iter()
        .enumerate()
        .all(|(at, one)| *one != io && !channels.iter().skip(at + 1).any(|other| other == one));
    if channels.len() == count && distinct { Ok((io, channels)) } else { Err(bad) }
}

/// What a user's program says while it joins its channels.
#[derive(Debug, PartialEq, Eq)]
pub enum Joining {
    /// It is answered with this; or with nothing.
    Answer(Vec<u8>),
    /// Data of the I/O channel: Client Info, the last of its handshake.
    Info(Vec<u8>),
}

/// Answers one message of a user's program before Client Info.
///
/// # Errors
/// If nothing of the kind may come now.
pub fn join(tpkt: &[u8], domain: &Domain) -> Result<Joining, Malformed> {
    let bad = Malformed("message of the channel connection");
    let X224(message) = decode::<X224<McsMessage<'_>>>(tpkt).map_err(|_| bad)?;
    match message {
        McsMessage::ErectDomainRequest(_) => Ok(Joining::Answer(Vec::new())),
        McsMessage::AttachUserRequest(_) => {
            let confirm = McsMessage::AttachUserConfirm(AttachUserConfirm { result: 0, initiator_id: domain.user });
            encoded(confirm, bad).map(Joining::Answer)
        }
        McsMessage::ChannelJoinRequest(join) if domain.joined().contains(&join.channel_id) => {
            let confirm = McsMessage::ChannelJoinConfirm(ChannelJoinConfirm {
                result: 0,
                initiator_id: domain.user,
                requested_channel_id: join.channel_id,
                channel_id: join.channel_id,
            });
            encoded(confirm, bad).map(Joining::Answer)
        }
        McsMessage::SendDataRequest(data) if data.channel_id == domain.io => {
            Ok(Joining::Info(data.user_data.into_owned()))
        }
        McsMessage::ChannelJoinRequest(_)
        | McsMessage::SendDataRequest(_)
        | McsMessage::AttachUserConfirm(_)
        | McsMessage::ChannelJoinConfirm(_)
        | McsMessage::SendDataIndication(_)
        | McsMessage::DisconnectProviderUltimatum(_) => Err(bad),
    }
}

/// The two messages that ask a target for a user's number.
///
/// # Errors
/// Never.
pub fn attach() -> Result<Vec<u8>, Malformed> {
    let bad = Malformed("attachment");
    let mut both = encoded(McsMessage::ErectDomainRequest(ErectDomainPdu { sub_height: 0, sub_interval: 0 }), bad)?;
    both.extend(encoded(McsMessage::AttachUserRequest(AttachUserRequest), bad)?);
    Ok(both)
}

/// The number that a target gave.
///
/// # Errors
/// If it gave none.
pub fn attached(tpkt: &[u8]) -> Result<u16, Malformed> {
    let bad = Malformed("MCS Attach User Confirm of the target");
    let X224(confirm) = decode::<X224<AttachUserConfirm>>(tpkt).map_err(|_| bad)?;
    if confirm.result == 0 { Ok(confirm.initiator_id) } else { Err(bad) }
}

/// Asks a target to join one channel.
///
/// # Errors
/// Never.
pub fn join_request(user: u16, channel: u16) -> Result<Vec<u8>, Malformed> {
    let request = ChannelJoinRequest { initiator_id: user, channel_id: channel };
    encoded(McsMessage::ChannelJoinRequest(request), Malformed("channel join request"))
}

/// Whether a target joined that channel.
///
/// # Errors
/// If it did not.
pub fn join_confirmed(tpkt: &[u8], channel: u16) -> Result<(), Malformed> {
    let bad = Malformed("MCS Channel Join Confirm of the target");
    let X224(confirm) = decode::<X224<ChannelJoinConfirm>>(tpkt).map_err(|_| bad)?;
    if confirm.result == 0 && confirm.channel_id == channel { Ok(()) } else { Err(bad) }
}

fn encoded(message: McsMessage<'_>, bad: Malformed) -> Result<Vec<u8>, Malformed> {
    encode_vec(&X224(message)).map_err(|_| bad)
}

fn wrapped<T: Encode>(message: &T, bad: Malformed) -> Result<Vec<u8>, Malformed> {
    let data = encode_vec(message).map_err(|_| bad)?;
    encode_vec(&X224(X224Data { data: data.into() })).map_err(|_| bad)
}

#[cfg(test)]
mod tests;
