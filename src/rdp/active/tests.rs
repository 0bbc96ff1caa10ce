use ironrdp_core::encode_vec;
use ironrdp_pdu::rdp::capability_sets::{
    Bitmap, BitmapCodecs, BitmapDrawingFlags, CapabilitySet, ClientConfirmActive, CmdFlags, DemandActive, General,
    GeneralExtraFlags, OffscreenBitmapCache, Order, OrderFlags, OrderSupportExFlags, OrderSupportIndex,
    SERVER_CHANNEL_ID, SurfaceCommands, VirtualChannel, VirtualChannelFlags, client_codecs_capabilities,
};
use ironrdp_pdu::rdp::headers::{ShareControlHeader, ShareControlPdu};
use proptest::prelude::*;

use super::*;

fn body(sets: Vec<CapabilitySet>) -> Vec<u8> {
    let pdu = DemandActive { source_descriptor: "MSTSC".into(), capability_sets: sets };
    let confirm = ClientConfirmActive { originator_id: SERVER_CHANNEL_ID, pdu };
    let header = ShareControlHeader {
        share_control_pdu: ShareControlPdu::ClientConfirmActive(confirm),
        pdu_source: 1007,
        share_id: 0x10_03ea,
    };
    encode_vec(&header).unwrap()[6..].to_vec()
}

fn read(body: &[u8]) -> Vec<CapabilitySet> {
    let mut whole = u16::try_from(body.len() + 6).unwrap().to_le_bytes().to_vec();
    whole.extend_from_slice(&[0x13, 0, 0xef, 3]);
    whole.extend_from_slice(body);
    let header: ShareControlHeader = ironrdp_core::decode(&whole).unwrap();
    let ShareControlPdu::ClientConfirmActive(confirm) = header.share_control_pdu else { panic!() };
    assert_eq!((header.share_id, confirm.originator_id), (0x10_03ea, SERVER_CHANNEL_ID));
    confirm.pdu.capability_sets
}

fn bitmap(width: u16, height: u16) -> CapabilitySet {
    CapabilitySet::Bitmap(Bitmap {
        pref_bits_per_pix: 32,
        desktop_width: width,
        desktop_height: height,
        desktop_resize_flag: true,
        drawing_flags: BitmapDrawingFlags::empty(),
    })
}

fn order() -> CapabilitySet {
    let mut order = Order::new(OrderFlags::all(), OrderSupportExFlags::all(), 480 * 480, 0);
    for index in [OrderSupportIndex::DstBlt, OrderSupportIndex::MemBlt, OrderSupportIndex::Index] {
        order.set_support_flag(index, true);
    }
    CapabilitySet::Order(order)
}

fn remotefx_set() -> CapabilitySet {
    CapabilitySet::BitmapCodecs(client_codecs_capabilities(&["remotefx:on"]).unwrap())
}

#[test]
fn a_target_may_draw_with_bitmaps_and_with_nothing_that_is_not_decoded() {
    let general = General { extra_flags: GeneralExtraFlags::all(), ..General::default() };
    let offscreen = OffscreenBitmapCache { is_supported: true, cache_size: 7680, cache_entries: 100 };
    let channel = VirtualChannel { flags: VirtualChannelFlags::COMPRESSION_SERVER_TO_CLIENT, chunk_size: Some(1600) };
    let sets = vec![
        CapabilitySet::General(general),
        bitmap(1024, 768),
        order(),
        CapabilitySet::OffscreenBitmapCache(offscreen),
        CapabilitySet::VirtualChannel(channel),
        CapabilitySet::DrawNineGridCache(vec![1; 8]),
        CapabilitySet::DrawGdiPlus(vec![1; 36]),
        CapabilitySet::ColorCache(vec![6, 0, 0, 0]),
        CapabilitySet::SurfaceCommands(SurfaceCommands { flags: CmdFlags::all() }),
    ];
    let kept = read(&confirm(&body(sets)).unwrap());
    assert_eq!(kept.len(), 5, "{kept:?}");
    let CapabilitySet::General(general) = &kept[0] else { panic!() };
    assert!(!general.extra_flags.contains(GeneralExtraFlags::AUTORECONNECT_SUPPORTED));
    assert!(general.extra_flags.contains(GeneralExtraFlags::FASTPATH_OUTPUT_SUPPORTED));
    assert_eq!(kept[1], bitmap(1024, 768));
    let CapabilitySet::Order(order) = &kept[2] else { panic!() };
    let mut order = order.clone();
    assert!(!order.get_support_flag(OrderSupportIndex::DstBlt) && !order.get_support_flag(OrderSupportIndex::MemBlt));
    let CapabilitySet::OffscreenBitmapCache(offscreen) = &kept[3] else { panic!() };
    assert!(!offscreen.is_supported);
    let CapabilitySet::VirtualChannel(channel) = &kept[4] else { panic!() };
    assert!(channel.flags.is_empty());
}

#[test]
fn remotefx_passes_under_the_number_that_is_decoded_and_no_other_codec() {
    let sets = || vec![CapabilitySet::SurfaceCommands(SurfaceCommands { flags: CmdFlags::all() }), remotefx_set()];
    let kept = read(&confirm(&body(sets())).unwrap());
    assert_eq!(kept.len(), 2, "{kept:?}");
    let CapabilitySet::BitmapCodecs(BitmapCodecs(kept)) = &kept[1] else { panic!() };
    assert_eq!((kept.len(), kept[0].id), (1, REMOTEFX_ID));

    let mut other = body(sets());
    let at = other.windows(16).position(|window| window == REMOTEFX).unwrap();
    other[at + 16] = 4;
    assert!(read(&confirm(&other).unwrap()).is_empty());
}

#[test]
fn the_size_that_a_target_demands_is_read() {
    let demand = |sets| {
        let mut demand = body(sets);
        // No originator in it.
        demand.drain(4..6);
        demanded(&demand)
    };
    assert_eq!(demand(vec![order(), bitmap(1200, 800)]), Ok((1200, 800)));
    assert!(demand(vec![order()]).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _ = confirm(&bytes);
        let _ = demanded(&bytes);
    }

    #[test]
    fn no_flipped_byte_makes_it_panic(at in 0usize..200, to: u8) {
        let mut bytes = body(vec![bitmap(1, 2), order(), remotefx_set()]);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = to;
        }
        let _ = confirm(&bytes);
        let _ = demanded(&bytes);
    }
}
