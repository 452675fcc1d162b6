use std::io::{BufWriter, Result, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;
use tempfile::NamedTempFile;

use crate::image::{CocoRle, Mask};

/// A COCO annotation file (images, one category, masks as compressed RLE), written as frames come,
/// so that memory holds sizes and names only. It appears once it is finished.
#[derive(Debug)]
pub struct CocoWriter {
    writer: BufWriter<NamedTempFile>,
    path: PathBuf,
    images: Vec<Image>,
    annotations: u64,
}

#[derive(Debug, Serialize)]
struct Image {
    id: u64,
    width: u32,
    height: u32,
    file_name: String,
}

impl CocoWriter {
    /// # Errors
    /// If the folder cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let mut writer = BufWriter::new(crate::atomic::temporary_beside(path)?);
        let info = json!({ "description": format!("p2sam {}", env!("CARGO_PKG_VERSION")) });
        let categories = json!([{ "id": 1, "name": "object", "supercategory": "object" }]);
        write!(writer, "{{\"info\":{info},\"licenses\":[],\"categories\":{categories},")?;
        write!(writer, "\"annotations\":[")?;
        Ok(Self { writer, path: path.to_path_buf(), images: Vec::new(), annotations: 0 })
    }

    /// Adds a frame. An empty mask gives an image without an annotation.
    ///
    /// # Errors
    /// If the disk is full.
    pub fn write(&mut self, index: u64, file_name: String, mask: &Mask, score: f32) -> Result<()> {
        self.images.push(Image {
            id: index,
            width: mask.width(),
            height: mask.height(),
            file_name,
        });
        let Some(area) = mask.bounding_box() else { return Ok(()) };
        if self.annotations > 0 {
            self.writer.write_all(b",")?;
        }
        self.annotations += 1;
        let annotation = json!({
            "id": self.annotations,
            "image_id": index,
            "category_id": 1,
            "iscrowd": 0,
            "segmentation": CocoRle::new(mask),
            "area": mask.area(),
            "bbox": [area.x0, area.y0, area.x1 - area.x0 + 1, area.y1 - area.y0 + 1],
            "score": score,
        });
        serde_json::to_writer(&mut self.writer, &annotation)?;
        Ok(())
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// If the disk is full or the name cannot be taken.
    pub fn finish(mut self) -> Result<()> {
        self.writer.write_all(b"],\"images\":")?;
        serde_json::to_writer(&mut self.writer, &self.images)?;
        self.writer.write_all(b"}\n")?;
        let temporary = self.writer.into_inner().map_err(|e| e.into_error())?;
        crate::atomic::publish(temporary, &self.path)
    }
}
