//! A picture of figures: groups of bars, as SVG.

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Bars side by side, in groups.
#[derive(Debug)]
pub struct Bars {
    title: &'static str,
    unit: &'static str,
    /// What the bars of each group are.
    kinds: [&'static str; KINDS],
    groups: Vec<Group>,
}

/// One group of bars.
#[derive(Debug)]
pub struct Group {
    /// What all of them are of.
    pub name: &'static str,
    /// How high they are, a bar for each kind.
    pub heights: Vec<f64>,
}

const KINDS: usize = 4;

/// Two pairs, told apart without colours by how dark they are.
const COLOURS: [RGBColor; KINDS] =
    [RGBColor(238, 170, 134), RGBColor(200, 80, 20), RGBColor(150, 200, 220), RGBColor(0, 90, 130)];

/// In points.
const SIZE: (u32, u32) = (960, 420);

/// A place on the axis of groups.
#[expect(clippy::cast_precision_loss, reason = "a few bars")]
fn place(number: usize) -> f64 {
    number as f64
}

impl Bars {
    /// No bars yet.
    pub fn new(title: &'static str, unit: &'static str, kinds: [&'static str; KINDS]) -> Self {
        Self { title, unit, kinds, groups: Vec::new() }
    }

    /// Adds a group.
    pub fn push(&mut self, group: Group) {
        self.groups.push(group);
    }

    /// The picture.
    pub fn draw(&self) -> Result<String> {
        let mut text = String::new();
        self.draw_into(&mut text).map_err(|error| anyhow!("draw a picture: {error}"))?;
        // The library breaks lines within elements and leaves none at the end.
        text.push('\n');
        Ok(text)
    }

    fn draw_into(&self, text: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        // The names of the kinds stand above the bars.
        let highest = self.groups.iter().flat_map(|group| &group.heights).fold(1.0, |a: f64, b| a.max(*b)) * 1.4;
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, ("sans-serif", 20))
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(50)
            .build_cartesian_2d(0.0..place(self.groups.len()), 0.0..highest)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .disable_x_axis()
            .light_line_style(TRANSPARENT)
            .y_desc(self.unit)
            .draw()?;
        for (kind, (name, colour)) in self.kinds.iter().zip(COLOURS).enumerate() {
            let bar = |(position, group): (usize, &Group)| {
                let width = 0.8 / place(KINDS);
                let left = place(position) + 0.1 + width * place(kind);
                let height = group.heights.get(kind).copied().unwrap_or_default();
                Rectangle::new([(left, 0.0), (left + width * 0.9, height)], colour.filled())
            };
            chart
                .draw_series(self.groups.iter().enumerate().map(bar))?
                .label(*name)
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled()));
        }
        let plain = ("sans-serif", 13).into_font().color(&BLACK).pos(Pos::new(HPos::Center, VPos::Top));
        for (position, group) in self.groups.iter().enumerate() {
            let (x, y) = chart.backend_coord(&(place(position) + 0.5, 0.0));
            area.draw(&Text::new(group.name, (x, y + 8), plain.clone()))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE)
            .border_style(BLACK.mix(0.3))
            .draw()?;
        area.present()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_a_bar_for_each_figure_and_their_names() {
        let mut bars = Bars::new("Requests", "milliseconds", ["p90", "p99", "p90, ejecting", "p99, ejecting"]);
        let empty = bars.draw().unwrap();
        bars.push(Group { name: "Random", heights: vec![20.5, 21.0, 0.5, 1.0] });
        let picture = bars.draw().unwrap();
        let count = |text: &str| text.matches("<rect").count();
        assert_eq!(count(&picture), count(&empty) + KINDS);
        assert!(picture.starts_with("<svg ") && picture.contains("Random") && picture.contains("p99, ejecting"));
    }
}
