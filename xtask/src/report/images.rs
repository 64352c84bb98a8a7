//! Small pictures in a grid, each with a caption: digits a model got wrong, for one, or what it looked at in them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use maud::{Markup, Render, html};

use super::Block;

/// A grey picture, 0 for the background and 255 for full ink; on a light page it is shown dark on white.
#[derive(Clone, Debug)]
pub struct GreyImage {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
    heat: Option<Vec<f32>>,
    caption: Vec<String>,
    hover: String,
}

impl GreyImage {
    /// A picture of `width * height` pixels, row by row.
    ///
    /// # Panics
    /// If there are not `width * height` pixels.
    pub fn new(width: u32, height: u32, pixels: Vec<u8>) -> Self {
        assert_eq!(pixels.len(), width as usize * height as usize, "pixels of a {width} x {height} picture");
        Self { width, height, pixels, heat: None, caption: Vec::new(), hover: String::new() }
    }

    /// Lays a map over the picture: red from 0 (clear) to 1, blue for negative values down to -1. The picture is then in
    /// colour, ink dark on white on every screen.
    ///
    /// # Panics
    /// If there are not as many values as pixels.
    #[must_use]
    pub fn heat(mut self, heat: Vec<f32>) -> Self {
        assert_eq!(heat.len(), self.pixels.len(), "values of a map over a picture");
        self.heat = Some(heat);
        self
    }

    /// Adds a line to the caption.
    #[must_use]
    pub fn caption(mut self, line: impl Into<String>) -> Self {
        self.caption.push(line.into());
        self
    }

    /// Sets the text shown while the pointer rests on the picture.
    #[must_use]
    pub fn hover(mut self, text: impl Into<String>) -> Self {
        self.hover = text.into();
        self
    }

    /// What the picture is, for those who do not see it: its caption, or else what the pointer shows.
    fn text(&self) -> String {
        if self.caption.is_empty() { self.hover.clone() } else { self.caption.join(", ") }
    }

    /// The picture as a `data:` address of a PNG file.
    fn data_uri(&self) -> String {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width, self.height);
        let (color, bytes) = match &self.heat {
            None => (png::ColorType::Grayscale, self.pixels.clone()),
            Some(heat) => (
                png::ColorType::Rgb,
                self.pixels.iter().zip(heat).flat_map(|(&p, &h)| tinted(p, h)).collect(),
            ),
        };
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        encoder
            .write_header()
            .and_then(|mut writer| writer.write_image_data(&bytes))
            .expect("a picture with as many pixels as it says is written to memory");
        format!("data:image/png;base64,{}", STANDARD.encode(file))
    }
}

/// A pixel of ink on white paper under red (positive) or blue (negative) film.
fn tinted(ink: u8, heat: f32) -> [u8; 3] {
    let paper = 255.0 - 0.7 * f32::from(ink);
    let strength = 0.85 * heat.abs().min(1.0);
    let film = if heat >= 0.0 { [220.0, 30.0, 30.0] } else { [30.0, 70.0, 220.0] };
    film.map(|film| (paper * (1.0 - strength) + film * strength).round() as u8)
}

/// Pictures in rows, as many across as the screen has room for.
#[derive(Clone, Debug)]
pub struct ImageGrid(pub Vec<GreyImage>);

impl Render for ImageGrid {
    fn render(&self) -> Markup {
        html! {
            div.images {
                @for image in &self.0 {
                    div title=(image.hover) {
                        img.plain[image.heat.is_some()] src=(image.data_uri()) width=(image.width) height=(image.height) alt=(image.text());
                        @for line in &image.caption { span { (line) } }
                    }
                }
            }
        }
    }
}

impl Block for ImageGrid {
    fn wide(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_in_the_page_decodes_to_its_pixels() {
        let pixels: Vec<u8> = (0..12).map(|i| i * 20).collect();
        let html =
            ImageGrid(vec![GreyImage::new(4, 3, pixels.clone()).caption("4 for <9>").hover("no. \"7\"")])
                .render()
                .into_string();
        let start = html.find("base64,").unwrap() + "base64,".len();
        let code = &html[start..start + html[start..].find('"').unwrap()];
        let file = STANDARD.decode(code).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut out = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut out).unwrap();
        assert_eq!((info.width, info.height, out), (4, 3, pixels));
        assert!(html.contains("4 for &lt;9&gt;") && html.contains("no. &quot;7&quot;"), "{html}");
    }
}
