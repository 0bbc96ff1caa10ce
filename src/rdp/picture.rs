//! Pictures out of records: what the target drew, drawn once more.
//!
//! Nothing is ever answered: the user's own program did that. A message that cannot be drawn is counted and costs what
//! it would have drawn; the decoder starts anew at each Demand Active, as the user's program does. What a target sends is
//! hostile: sizes are bounded, and a panic in the decoder is such a message.

#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ironrdp_graphics::image_processing::PixelFormat;
use ironrdp_pdu::Action;
use ironrdp_pdu::input::MousePdu;
use ironrdp_pdu::input::fast_path::FastPathInputEvent;
use ironrdp_pdu::input::mouse::PointerFlags;
use ironrdp_session::image::DecodedImage;
use ironrdp_session::{ActiveStage, ActiveStageBuilder, ActiveStageOutput};

use super::keys::{self, Input};
use super::packets::{DEMAND_ACTIVE, POINTER, Share, UPDATE, demand_active, update};
use super::pdu::{Mcs, Way, mcs, send_data};
use super::record::Kind;

/// The most pixels that a desktop may have each way; a picture of that size has 256 MiB.
pub const SIDE_MAX: u16 = 8192;

/// In the user's place, in frames that are made here: the decoder does not look at it.
const USER: u16 = 1004;

/// Whether the mouse's pointer is in the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pointer {
    /// As the user saw it.
    Drawn,
    /// Only what the target drew on its desktop.
    LeftOut,
}

/// What a record did to the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// Something of it may have changed.
    Drawn,
    /// There is one of another size.
    Sized,
}

/// The desktop, as far as the records were taken.
pub struct Picture {
    pointer: Pointer,
    drawing: Option<Drawing>,
    faults: u64,
    first_fault: Option<String>,
}

struct Drawing {
    image: DecodedImage,
    stage: ActiveStage,
    share_id: u32,
    channel: u16,
}

impl Picture {
    /// Without a desktop, until a record sets one up.
    pub fn new(pointer: Pointer) -> Self {
        Self { pointer, drawing: None, faults: 0, first_fault: None }
    }

    /// Width and height in pixels; none before there is a desktop.
    pub fn size(&self) -> Option<(u16, u16)> {
        self.drawing.as_ref().map(|drawing| (drawing.image.width(), drawing.image.height()))
    }

    /// The picture: rows from the top, four bytes a pixel - red, green, blue, and one that means nothing.
    pub fn rgba(&self) -> &[u8] {
        self.drawing.as_ref().map(|drawing| drawing.image.data()).unwrap_or_default()
    }

    /// How many messages could not be drawn, and what was wrong with the first.
    pub fn faults(&self) -> (u64, Option<&str>) {
        (self.faults, self.first_fault.as_deref())
    }

    /// Draws what a record holds.
    pub fn take(&mut self, kind: Kind, bytes: &[u8]) -> Change {
        match kind {
            Kind::FastPathOutput => self.draw(Action::FastPath, bytes),
            Kind::IoOutput => self.take_message(bytes),
            Kind::FastPathInput | Kind::IoInput => self.point(kind, bytes),
            Kind::ChannelOut | Kind::ChannelIn | Kind::Event => Change::Nothing,
        }
    }

    fn take_message(&mut self, frame: &[u8]) -> Change {
        let (channel, data) = match mcs(frame, Way::Indication) {
            Ok(Mcs::Data { channel, data }) => (channel, data),
            // The target goes, or says something that is no picture.
            Ok(Mcs::Disconnect | Mcs::Other(_)) => return Change::Nothing,
            Err(malformed) => {
                self.fault(&malformed.to_string());
                return Change::Nothing;
            }
        };
        let shares = Share::all(data);
        let alone = shares.len() == 1;
        let mut change = Change::Nothing;
        for share in shares {
            if share.kind == DEMAND_ACTIVE {
                match demand_active(share.body) {
                    Some((share_id, width, height)) => change = self.set_up(share_id, channel, width, height),
                    None => self.fault("the target's capabilities cannot be read"),
                }
                continue;
            }
            if !share.data().is_some_and(|(kind, _)| matches!(kind, UPDATE | POINTER)) {
                continue;
            }
            let drawn = match alone {
                true => self.draw(Action::X224, frame),
                false => send_data(Way::Indication, USER, channel, share.whole)
                    .map_or(Change::Nothing, |own| self.draw(Action::X224, &own)),
            };
            if change != Change::Sized {
                change = drawn;
            }
        }
        change
    }

    /// Paints three bytes a pixel over all of it, under the pointer; rows from the top.
    pub(super) fn paint(&mut self, pixels: &[u8]) {
        let Some((width, _)) = self.size() else { return };
        let rows: Vec<&[u8]> = pixels.chunks_exact(usize::from(width).saturating_mul(3)).collect();
        for left in (0..usize::from(width)).step_by(PAINTED_WIDTH) {
            let piece = PAINTED_WIDTH.min(usize::from(width).saturating_sub(left));
            let high = PAINTED_BYTES / piece.saturating_mul(4);
            for (stripe, rows) in rows.chunks(high).enumerate() {
                let part = |row: &&[u8]| {
                    row.chunks_exact(3).skip(left).take(piece).flat_map(blue_green_red).collect::<Vec<u8>>()
                };
                // The rows of a bitmap stand from the bottom.
                let bytes: Vec<u8> = rows.iter().rev().flat_map(part).collect();
                let frame = bitmap_frame(left, stripe.saturating_mul(high), piece, rows.len(), &bytes);
                if let Some(frame) = frame {
                    self.draw(Action::FastPath, &frame);
                }
            }
        }
    }

    /// Begins a desktop. One of the size that there was keeps its picture until it is drawn over.
    fn set_up(&mut self, share_id: u32, channel: u16, width: u16, height: u16) -> Change {
        let sides = 1..=SIDE_MAX;
        if !sides.contains(&width) || !sides.contains(&height) {
            self.fault(&format!("a desktop of {width}x{height} pixels is not drawn"));
            return Change::Nothing;
        }
        let stage = stage(share_id, channel, self.pointer);
        let same = self.size() == Some((width, height)) && self.pointer == Pointer::LeftOut;
        let image = match self.drawing.take() {
            Some(drawing) if same => drawing.image,
            Some(_) | None => DecodedImage::new(PixelFormat::RgbA32, width, height),
        };
        self.drawing = Some(Drawing { image, stage, share_id, channel });
        if same { Change::Drawn } else { Change::Sized }
    }

    fn draw(&mut self, action: Action, frame: &[u8]) -> Change {
        self.with_stage(|stage, image| stage.process(image, action, frame, None))
    }

    /// Moves the pointer to where the user's mouse is.
    fn point(&mut self, kind: Kind, bytes: &[u8]) -> Change {
        if self.pointer == Pointer::LeftOut {
            return Change::Nothing;
        }
        let place = keys::inputs(kind, bytes).into_iter().rev().find_map(|input| match input {
            Input::Mouse { x, y, .. } => Some((x, y)),
            Input::Key { .. } | Input::Unicode { .. } | Input::Locks { .. } | Input::Other => None,
        });
        let Some((x, y)) = place else { return Change::Nothing };
        let event = FastPathInputEvent::MouseEvent(MousePdu {
            flags: PointerFlags::MOVE,
            number_of_wheel_rotation_units: 0,
            x_position: x,
            y_position: y,
        });
        self.with_stage(|stage, image| stage.process_fastpath_input(image, &[event]))
    }

    fn with_stage(
        &mut self,
        work: impl FnOnce(&mut ActiveStage, &mut DecodedImage) -> ironrdp_session::SessionResult<Vec<ActiveStageOutput>>,
    ) -> Change {
        let Some(drawing) = &mut self.drawing else { return Change::Nothing };
        let Drawing { image, stage, .. } = &mut *drawing;
        let fault = match catch_unwind(AssertUnwindSafe(|| work(stage, image))) {
            Ok(Ok(outputs)) => {
                let drawn = outputs.iter().any(|output| matches!(output, ActiveStageOutput::GraphicsUpdate(_)));
                return if drawn { Change::Drawn } else { Change::Nothing };
            }
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => {
                // Whatever it was in the middle of is not to be relied on.
                drawing.stage = self::stage(drawing.share_id, drawing.channel, self.pointer);
                String::from("the decoder has panicked")
            }
        };
        self.fault(&fault);
        Change::Nothing
    }

    fn fault(&mut self, why: &str) {
        self.faults = self.faults.saturating_add(1);
        if self.first_fault.is_none() {
            self.first_fault = Some(why.to_owned());
        }
    }

    /// The size of the desktop that a record sets up, if it does that.
    pub fn sized_by(kind: Kind, bytes: &[u8]) -> Option<(u16, u16)> {
        if kind != Kind::IoOutput {
            return None;
        }
        let Ok(Mcs::Data { data, .. }) = mcs(bytes, Way::Indication) else { return None };
        let shares = Share::all(data);
        let mut set_up =
            shares.iter().filter(|share| share.kind == DEMAND_ACTIVE).filter_map(|share| demand_active(share.body));
        let (_, width, height) = set_up.next_back()?;
        let sides = 1..=SIDE_MAX;
        (sides.contains(&width) && sides.contains(&height)).then_some((width, height))
    }

    /// The picture as PNG; none before there is a desktop.
    pub fn png(&self) -> Option<Vec<u8>> {
        let (width, height) = self.size()?;
        encode_png(width, height, self.rgba())
    }
}

/// A fast-path message has at most 32 KiB.
const PAINTED_BYTES: usize = 32_000;
const PAINTED_WIDTH: usize = 4096;

fn blue_green_red(pixel: &[u8]) -> impl Iterator<Item = u8> {
    pixel.iter().rev().copied().chain([0])
}

/// A fast-path message with one bitmap of 32 bits a pixel (sections 2.2.9.1.2 and 2.2.9.1.1.3.1.2.2).
fn bitmap_frame(left: usize, top: usize, width: usize, height: usize, pixels: &[u8]) -> Option<Vec<u8>> {
    let last = |first: usize, count: usize| first.saturating_add(count).saturating_sub(1);
    let (right, bottom, size) = (last(left, width), last(top, height), pixels.len());
    let numbers = [1, 1, left, top, right, bottom, width, height, 32, 0, size].map(u16::try_from);
    let numbers: Vec<u8> =
        numbers.into_iter().collect::<Result<Vec<u16>, _>>().ok()?.into_iter().flat_map(u16::to_le_bytes).collect();
    let update = [&numbers, pixels].concat();
    let length = u16::try_from(update.len()).ok()?;
    let total = length.checked_add(6)? | 0x8000;
    Some([&[0][..], &total.to_be_bytes(), &[update::BITMAP], &length.to_le_bytes(), &update].concat())
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({:?}, {} faults)", self.size(), self.faults)
    }
}

fn stage(share_id: u32, channel: u16, pointer: Pointer) -> ActiveStage {
    let drawn = pointer == Pointer::Drawn;
    ActiveStageBuilder {
        static_channels: Default::default(),
        user_channel_id: USER,
        io_channel_id: channel,
        message_channel_id: None,
        share_id,
        compression_type: None,
        enable_server_pointer: drawn,
        pointer_software_rendering: drawn,
    }
    .build()
}

/// Four bytes a pixel as PNG, of which the fourth is left out.
pub fn encode_png(width: u16, height: u16, rgba: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width.into(), height.into());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&rgb(rgba)).ok()?;
    writer.finish().ok()?;
    Some(out)
}

/// Three bytes a pixel.
pub fn rgb(rgba: &[u8]) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(rgba.len() / 4 * 3);
    for pixel in rgba.chunks_exact(4) {
        rgb.extend(pixel.iter().take(3));
    }
    rgb
}
